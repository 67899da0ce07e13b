/** What a real nats-server adds: it is killed and comes back, it counts what we cost, it answers about our nodes. */

import { jetstreamManager } from "@nats-io/jetstream";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { startNodeService } from "../../runtime/nats/node-service.ts";
import { connectNats } from "../../runtime/nats/transport.ts";
import type { KeyEntry } from "../../runtime/transport.ts";
import { Probe, probe, probeTools } from "../support/actors.ts";
import { startCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";

const text = (value: string) => new TextEncoder().encode(value);
const KEYS = Array.from({ length: 8 }, (_, n) => `k${n}`);

const connect = (url: string) =>
  connectNats({
    url,
    name: "test",
    topology: {
      replicas: 1,
      partitions: 4,
      mailboxCapacity: 10_000,
      journalRetentionMs: 3_600_000,
    },
    logger: silentLogger,
    clock: systemClock,
  });

const TTL_MS = 2_000;

describe("a nats-server killed and started again under load", () => {
  test("costs no accepted tell and doubles none; nodes and clients go on by themselves (R2, R3)", async () => {
    await using cluster = await startCluster({
      definitions: [probe()],
      tools: probeTools(),
      nodes: 2,
      on: "nats",
      leaseTtlMs: 4_000,
    });
    const accepted = new Map<string, string[]>(KEYS.map((key) => [key, []]));
    const state = { stopped: false };
    const tell = async (key: string) => {
      for (let n = 0; !state.stopped; n += 1) {
        const told = cluster.client
          .actor(Probe, "acme", key)
          .relay(
            { to: `${key}-target`, texts: [`${n}`] },
            { id: `${key}-${n}`, timeoutMs: 30_000 },
          );
        await told;
        accepted.get(key)!.push(`${n}`);
        await systemClock.sleep(3);
      }
    };
    const running = Promise.all(KEYS.map(tell));
    for (let round = 0; round < 2; round += 1) {
      const before = accepted.get("k0")!.length;
      await eventually(() => accepted.get("k0")!.length > before + 20, {
        name: "tells go through",
      });
      await cluster.nats.kill();
      await systemClock.sleep(round * 2_500);
      await cluster.nats.restart();
    }
    const before = accepted.get("k0")!.length;
    await eventually(() => accepted.get("k0")!.length > before + 20, {
      name: "tells go through again",
      within: 20_000,
    });
    state.stopped = true;
    await running;
    for (const key of KEYS) {
      const target = cluster.client.actor(Probe, "acme", `${key}-target`);
      await eventually(
        async () => (await target.read({})).heard.length >= accepted.get(key)!.length,
        { name: `${key} has all`, within: 20_000 },
      );
      expect((await target.read({})).heard).toEqual(accepted.get(key));
    }
    await cluster.settled();
  }, 90_000);

  test("keeps reminders: those due meanwhile fire at once, later ones in time (R6)", async () => {
    await using cluster = await startCluster({ definitions: [probe()], on: "nats" });
    const handle = cluster.client.actor(Probe, "acme", "a");
    await handle.remind({ name: "soon", text: "soon", afterMs: 1_000 });
    await handle.remind({ name: "later", text: "later", afterMs: 6_000 });
    const setAt = performance.now();
    await handle.read({});
    await cluster.nats.kill();
    await eventually(() => performance.now() > setAt + 1_000, { name: "the first is due" });
    await cluster.nats.restart();
    const alarms = async () => (await handle.read({}, { timeoutMs: 2_000 })).alarms;
    await eventually(async () => (await alarms()).length === 2, { name: "both", within: 15_000 });
    expect(await alarms()).toEqual(["soon", "later"]);
    expect(performance.now() - setAt).toBeLessThan(8_000);
  }, 60_000);

  test("does not end a watch: what changed and what went meanwhile is told (W1)", async () => {
    await using cluster = await startCluster({ definitions: [probe()], on: "nats" });
    const one = await connect(cluster.nats.url);
    const two = await connect(cluster.nats.url);
    await one.buckets.put("workers", "stays", text("1"));
    await one.buckets.put("workers", "expires", text("1"), { ttlMs: TTL_MS });
    const putAt = performance.now();
    const now = new Map<string, string>();
    const follow = ({ key, value }: KeyEntry) => {
      if (value) now.set(key, new TextDecoder().decode(value));
      else now.delete(key);
    };
    const watch = await two.buckets.watch("workers", follow);
    expect([...now.keys()].toSorted((a, b) => a.localeCompare(b))).toEqual(["expires", "stays"]);
    await cluster.nats.kill();
    await eventually(() => performance.now() > putAt + TTL_MS, { name: "it has expired" });
    await cluster.nats.restart();
    await eventually(() => one.buckets.put("workers", "stays", text("2")), { name: "writes" });
    await eventually(() => now.get("stays") === "2" && !now.has("expires"), {
      name: "the watcher knows",
    });
    await one.buckets.put("workers", "new", text("3"));
    await eventually(() => now.get("new") === "3", { name: "and goes on" });
    await watch.close();
    await Promise.all([one.close(), two.close()]);
  }, 60_000);
});

describe("a node on a real server", () => {
  test("stops within a bound while the server is away", async () => {
    await using cluster = await startCluster({ definitions: [probe()], on: "nats" });
    await cluster.client.actor(Probe, "acme", "a").add({ n: 1 });
    await cluster.nats.kill();
    const startedAt = performance.now();
    await cluster.stop("n1");
    expect(performance.now() - startedAt).toBeLessThan(20_000);
  }, 60_000);

  test("costs the broker the same with a thousand actors as with none: no consumer each (R9)", async () => {
    await using cluster = await startCluster({
      definitions: [probe({ passivateAfterMs: 300 })],
      on: "nats",
    });
    const transport = await connect(cluster.nats.url);
    const manager = await jetstreamManager(transport.connection);
    const consumers = async () => {
      const { consumers: count, streams } = await manager.getAccountInfo();
      return { count, streams };
    };
    const before = await consumers();
    await Promise.all(
      Array.from({ length: 1_000 }, (_, n) =>
        cluster.client.actor(Probe, "acme", `k${n}`).add({ n }, { timeoutMs: 20_000 }),
      ),
    );
    const isAsBefore = async () => {
      expect(await consumers()).toEqual(before);
    };
    // A node's own short readings may be under way.
    await eventually(isAsBefore, { name: "as many consumers as before, with actors in memory" });
    await eventually(() => cluster.node("n1").actors(2_000).length === 0, { name: "all are gone" });
    await eventually(isAsBefore, { name: "as many consumers as before, with none" });
    expect(await cluster.client.actor(Probe, "acme", "k7").add({ n: 1 })).toEqual({ total: 8 });
    await transport.close();
  }, 60_000);

  test("answers the micro service requests of the stock command line", async () => {
    await using cluster = await startCluster({ definitions: [probe()], on: "nats" });
    const transport = await connect(cluster.nats.url);
    const { connection, records } = transport;
    const parts = { connection, records, node: cluster.node("n1"), version: "1.2.3-test" };
    const service = await startNodeService(parts);
    await cluster.client.actor(Probe, "acme", "a").add({ n: 1 });
    const request = async (subject: string) =>
      JSON.parse((await connection.request(subject, "", { timeout: 5_000 })).string()) as object;
    expect(await request("$SRV.PING.berth-node")).toMatchObject({
      name: "berth-node",
      version: "1.2.3",
      metadata: { node: "n1", version: "1.2.3-test" },
    });
    expect(await request("berth.node.n1.actors")).toMatchObject({
      node: "n1",
      total: 1,
      actors: [{ tenant: "acme", kind: "probe", key: "a", waiting: 0, turns: 1 }],
    });
    expect(await request("berth.node.n1.stats")).toMatchObject({
      id: "n1",
      ready: true,
      partitions: [0, 1, 2, 3],
    });
    expect(await request("berth.node.n1.drain")).toEqual({ drained: true });
    expect(cluster.node("n1").partitions()).toEqual([]);
    await service.stop();
    await expect(request("berth.node.n1.stats")).rejects.toThrow();
    await transport.close();
  });

  test("refuses what is larger than a message may be with its own error", async () => {
    await using cluster = await startCluster({ definitions: [probe()], on: "nats" });
    const handle = cluster.client.actor(Probe, "acme", "a");
    const size = 2 * 1024 * 1024; // the server takes 1 MiB
    await handle.add({ n: 1 });
    await handle.grow({ size });
    const { deadLetters } = cluster.transport;
    await eventually(async () => (await deadLetters.list({ limit: 5 })).letters.length === 1, {
      name: "the letter",
    });
    const { letters } = await deadLetters.list({ limit: 5 });
    expect(letters).toMatchObject([{ reason: { code: "actor.state_too_large" } }]);
    await expect(handle.hear({ text: "x".repeat(size) })).rejects.toMatchObject({
      code: "actor.state_too_large",
    });
    expect(await handle.read({})).toMatchObject({ total: 1 });
  });
});
