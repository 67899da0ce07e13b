import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readBrokerUse } from "../../../runtime/nats/broker-use.ts";
import { startNats, type TestNats } from "../../support/nats.ts";

const TIMEOUT_MS = 5_000;

let nats: TestNats;
beforeAll(async () => {
  nats = await startNats();
});
afterAll(() => nats[Symbol.asyncDispose]());

test("a server tells what lies on its disk, in how many streams, and that nothing limits the account", async () => {
  const nc = await connect({ servers: nats.url });
  try {
    const before = await readBrokerUse(nc, TIMEOUT_MS);
    expect(before).toMatchObject({ streams: 0, consumers: 0, storageBytes: 0 });
    expect(before).toMatchObject({ storageLimitBytes: 0, memoryLimitBytes: 0 });
    const jsm = await jetstreamManager(nc);
    await jsm.streams.add({ name: "S", subjects: ["s"] });
    await jsm.consumers.add("S", { durable_name: "c", ack_policy: "explicit" });
    await jsm.jetstream().publish("s", new Uint8Array(10_000));
    const after = await readBrokerUse(nc, TIMEOUT_MS);
    expect(after).toMatchObject({ streams: 1, consumers: 1 });
    expect(after.storageBytes).toBeGreaterThanOrEqual(10_000);
    expect(after.storageBytes).toBeLessThan(20_000);
  } finally {
    await nc.close();
  }
});

test("a server that is away is an error of ours", async () => {
  const nc = await connect({ servers: nats.url });
  await nc.close();
  await expect(readBrokerUse(nc, TIMEOUT_MS)).rejects.toMatchObject({
    code: "broker.unavailable",
  });
});
