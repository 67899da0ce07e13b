/** R7 on a real nats-server: lanes go before each other, and a full one says so and stops no other. */
import { describe, expect, test } from "vitest";
import { BerthError } from "../../../protocols/errors.ts";
import { actorClient } from "../../../runtime/actor-client.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { DEFAULT_SUPERVISION } from "../../../runtime/supervision.ts";
import { startCluster } from "../../support/cluster.ts";
import { eventually } from "../../support/eventually.ts";
import { flood } from "../../support/mail-flood.ts";
import { Meter, meter } from "../../support/meter.ts";

describe("a lane", () => {
  test("goes before a slower one, though 5,000 messages came first in that", async () => {
    await using cluster = await startCluster({
      definitions: [meter()],
      nodes: 0,
      partitions: 1,
      on: "nats",
    });
    await flood(cluster.transport, "a", 5_000, { type: "later" });
    const a = cluster.client.actor(Meter, "acme", "a");
    await a.hit({ n: 5_000 });
    await a.urgent({ n: 0 });
    await cluster.start("n1");
    await cluster.settled();
    const seen = await eventually(
      async () => {
        const found = await a.read({});
        return found.hits === 5_001 && found;
      },
      { name: "all is handled", within: 30_000 },
    );
    // The control message came last and was handled before most; the user message broke into the background twice.
    expect(seen.urgentAfter).toBeLessThan(1_000);
    expect(seen.disorder).toBeLessThanOrEqual(2);
    expect(seen.last).toBe(4_999);
  });

  test("of control is delivered at once, though its partition has a backlog that stands still", async () => {
    const backoff = { initialMs: 120_000, maxMs: 120_000 };
    await using cluster = await startCluster({
      definitions: [meter({ supervision: { ...DEFAULT_SUPERVISION, backoff } })],
      partitions: 1,
      on: "nats",
    });
    const slow = cluster.client.actor(Meter, "acme", "slow");
    await slow.hit({ n: -1 });
    await flood(cluster.transport, "slow", 9_000);
    const startedAt = performance.now();
    await slow.urgent({ n: 0 });
    // Another client: the first one's reads come after its tells, which wait (R4).
    const other = actorClient({ transport: cluster.transport, clock: systemClock });
    const read = () => other.actor(Meter, "acme", "slow").read({});
    await eventually(async () => (await read()).urgentAfter === 0, { name: "it is seen" });
    expect(performance.now() - startedAt).toBeLessThan(2_000);
  });
});

describe("a mailbox on a real server", () => {
  test("that is full refuses with a typed error, and takes control mail all the same", async () => {
    await using cluster = await startCluster({
      definitions: [meter()],
      nodes: 0,
      partitions: 1,
      mailboxCapacity: 50,
      on: "nats",
    });
    const full = cluster.client.actor(Meter, "acme", "full");
    for (let n = 0; n < 50; n += 1) await full.hit({ n });
    const error: unknown = await full.hit({ n: 50 }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(BerthError);
    expect(error).toMatchObject({ code: "actor.mailbox_full", retry: "later", status: 429 });
    await full.urgent({ n: 0 });
    await full.later({ n: 51 });
    await cluster.client.actor(Meter, "acme", "other").hit({ n: 0 });
    await cluster.start("n1");
    await cluster.settled();
    await eventually(() => full.hit({ n: 52 }), { name: "there is room again" });
    await eventually(async () => (await full.read({})).hits === 52, { name: "all was handled" });
    expect((await full.read({})).urgentAfter).toBeGreaterThanOrEqual(0);
  });
});
