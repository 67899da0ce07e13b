/** A hold: nobody owns a partition, and everything goes on afterwards. */
import { describe, expect, test } from "vitest";
import { HOLD_KEY } from "../../../protocols/records.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { Hold, quiet } from "../../../runtime/hold.ts";
import { MemoryBroker } from "../../../runtime/memory/broker.ts";
import { connectMemory } from "../../../runtime/memory/transport.ts";
import { Probe, probe } from "../../support/actors.ts";
import { type Cluster, startCluster } from "../../support/cluster.ts";
import { eventually } from "../../support/eventually.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const never = new AbortController().signal;
const held = (cluster: Cluster) => [...cluster.nodes.values()].flatMap((node) => node.partitions());
const place = ({ transport: { buckets } }: Cluster) =>
  Hold.place({ buckets, clock: systemClock }, "a test");
const untilQuiet = ({ transport: { buckets } }: Cluster) =>
  quiet({ buckets, clock: systemClock }, { withinMs: 5_000, signal: never });

describe("a hold", () => {
  test("has every node release what it owns; what is asked meanwhile is answered afterwards, once (R3, R8)", async () => {
    await using cluster = await startCluster({ definitions: [probe()], nodes: 3 });
    const actor = cluster.client.actor(Probe, "acme", "a");
    await actor.add({ n: 1 });
    const hold = await place(cluster);
    await untilQuiet(cluster);
    expect(held(cluster)).toEqual([]);
    const asked = actor.add({ n: 1 }, { timeoutMs: 10_000 });
    // A node that joins meanwhile takes nothing either.
    await cluster.start("n4");
    expect(held(cluster)).toEqual([]);
    await hold.release();
    expect((await asked).total).toBe(2);
    await cluster.settled();
    expect(held(cluster)).toHaveLength(4);
  });

  test("is refused while there is another, and ends by itself when its maker is gone (HO1, HO2)", async () => {
    await using cluster = await startCluster({ definitions: [probe()], nodes: 1 });
    const { buckets } = cluster.transport;
    // As of a maker that died at once.
    const dead = new TextEncoder().encode(JSON.stringify({ by: "dead", since: 1 }));
    await buckets.put("partitions", HOLD_KEY, dead, { ttlMs: 1_000 });
    await untilQuiet(cluster);
    await expect(place(cluster)).rejects.toMatchObject({ code: "backup.not_quiet" });
    await eventually(() => held(cluster).length === 4, { name: "the node goes on", within: 5_000 });
    expect((await cluster.client.actor(Probe, "acme", "b").add({ n: 1 })).total).toBe(1);
  });

  test("that is taken away from its maker tells so before its time is over", async () => {
    const clock = new ManualClock();
    const broker = new MemoryBroker({ clock, partitions: 1, mailboxCapacity: 10 });
    const { buckets } = connectMemory(broker);
    const hold = await Hold.place({ buckets, clock }, "a test");
    await clock.advance(60_000);
    expect(hold.ended.aborted).toBe(false);
    expect(await buckets.get("partitions", HOLD_KEY)).toBeDefined();
    await buckets.put("partitions", HOLD_KEY, new TextEncoder().encode("another's"));
    await clock.advance(15_000);
    expect(hold.ended.aborted).toBe(true);
    await hold.release();
    expect(await buckets.get("partitions", HOLD_KEY)).toBeDefined();
  });

  test("waits for a node that goes on, and names it", async () => {
    await using cluster = await startCluster({ definitions: [probe()], nodes: 1 });
    const { buckets } = cluster.transport;
    // No hold was placed: so a build goes on that knows none.
    const waiting = quiet({ buckets, clock: systemClock }, { withinMs: 50, signal: never });
    await expect(waiting).rejects.toThrow(/n1 \(0, 1, 2, 3\)/);
  });
});
