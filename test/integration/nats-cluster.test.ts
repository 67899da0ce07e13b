/** The runtime on three nats-servers: one that dies, one that is cut from the others, a node that is cut from all. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Probe, probe } from "../support/actors.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({ definitions: [probe()], nodes: 2, on: "nats-cluster" });
});
afterAll(() => cluster[Symbol.asyncDispose]());

const at = (key: string) => cluster.client.actor(Probe, "acme", key);

describe("a nats-server that is away", () => {
  test("answers an ask that was made meanwhile as soon as it is back (R8)", async () => {
    await using single = await startCluster({ definitions: [probe()], on: "nats" });
    const handle = single.client.actor(Probe, "acme", "a");
    await handle.add({ n: 1 });
    await single.nats.kill();
    await eventually(
      async () => {
        const error: unknown = await handle
          .add({ n: 0 }, { timeoutMs: 1 })
          .catch((e: unknown) => e);
        return (error as { code?: string }).code === "actor.moved";
      },
      { name: "the client knows" },
    );
    const asked = handle.add({ n: 1 }, { timeoutMs: 30_000 });
    await single.nats.restart();
    expect((await asked).total).toBe(2);
  });
});

describe("three nats-servers", () => {
  test("keep every stream three times", async () => {
    expect(await at("a").add({ n: 1 })).toEqual({ total: 1 });
    await cluster.natsCluster.healthy();
  });

  test.each(["s1"] as const)(
    "may lose %s: what was answered stays, and calls go on (R2, R8)",
    async (server) => {
      const before = (await at("b").read({}, { timeoutMs: 10_000 })).total;
      await cluster.natsCluster.kill(server);
      let answered = 0;
      await eventually(
        async () => {
          await at("b").add({ n: 1 }, { timeoutMs: 2_000 });
          answered += 1;
          return answered >= 20;
        },
        { name: "calls go on", within: 30_000 },
      );
      await cluster.natsCluster.start(server);
      await cluster.natsCluster.healthy();
      const { total } = await at("b").read({}, { timeoutMs: 10_000 });
      expect(total).toBeGreaterThanOrEqual(before + answered);
    },
  );

  test.each(["s2"] as const)(
    "may have %s cut off: its clients leave it and calls go on (R8)",
    async (server) => {
      cluster.natsCluster.isolate(server, "silent");
      using _ = { [Symbol.dispose]: () => cluster.natsCluster.heal() };
      let answered = 0;
      await eventually(
        async () => {
          await at("c").add({ n: 1 }, { timeoutMs: 2_000 });
          answered += 1;
          return answered >= 50;
        },
        { name: "calls go on", within: 40_000 },
      );
      cluster.natsCluster.heal();
      await cluster.natsCluster.healthy();
      expect((await at("c").read({}, { timeoutMs: 10_000 })).total).toBeGreaterThanOrEqual(
        answered,
      );
    },
  );
});
