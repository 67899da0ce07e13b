/** R8: who hosts what, decided alike by everyone and changed by compare-and-set. */
import { describe, expect, test } from "vitest";
import type { NodeRecord, PartitionRecord } from "../../../protocols/records.ts";
import { type Clock, systemClock } from "../../../runtime/clock.ts";
import { NodeLease } from "../../../runtime/lease.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { type HostedPartition, Membership } from "../../../runtime/membership.ts";
import { MemoryBroker } from "../../../runtime/memory/broker.ts";
import { connectMemory } from "../../../runtime/memory/transport.ts";
import { noMetrics } from "../../../runtime/metrics.ts";
import { decidePartition } from "../../../runtime/partition-view.ts";
import { decideHomes } from "../../../runtime/placement.ts";
import { graceMs } from "../../../runtime/suspicion.ts";
import type { Transport } from "../../../runtime/transport.ts";
import { Probe, probe } from "../../support/actors.ts";
import { startCluster } from "../../support/cluster.ts";
import { deferred } from "../../support/deferred.ts";
import { eventually } from "../../support/eventually.ts";
import { ManualClock } from "../../support/manual-clock.ts";

function nodeRecord(id: string, extra: Partial<NodeRecord> = {}): NodeRecord {
  const base = { version: "0", started_at: 0, draining: false, drivers: [], kinds: [] };
  return { id, incarnation: `${id}-1`, ...base, ...extra };
}

const live = (names: readonly string[]) => new Map(names.map((id) => [id, nodeRecord(id)]));

describe("a partition", () => {
  const view = (claim: PartitionRecord | undefined, extra = {}) => ({
    self: "a",
    incarnation: "a-1",
    holding: false,
    leaving: false,
    claim,
    home: "a",
    nodes: live(["a"]),
    ...extra,
  });
  const claim = (node: string | null, incarnation = `${node}-1`): PartitionRecord => ({
    epoch: 3,
    node,
    incarnation: node === null ? null : incarnation,
  });

  test("is claimed when free, when its holder is gone, and from an earlier run of us; not from a live one", () => {
    expect(decidePartition(view(undefined))).toBe("claim");
    expect(decidePartition(view(claim(null)))).toBe("claim");
    expect(decidePartition(view(claim("b")))).toBe("claim");
    expect(decidePartition(view(claim("a", "a-0")))).toBe("claim");
    const draining = new Map([...live(["a"]), ["b", nodeRecord("b", { draining: true })]]);
    expect(decidePartition(view(claim("b"), { nodes: draining }))).toBe("keep");
  });

  test("is abandoned when the claim is another's, and released when it belongs elsewhere", () => {
    const holding = { holding: true };
    expect(decidePartition(view(claim("b"), holding))).toBe("abandon");
    expect(decidePartition(view(claim("a"), holding))).toBe("keep");
    expect(decidePartition(view(claim("a"), { ...holding, leaving: true }))).toBe("release");
    expect(decidePartition(view(claim("a"), { ...holding, home: "b" }))).toBe("release");
  });

  test("is given back when it is claimed and not held, and belongs elsewhere or this node leaves: others wait for it", () => {
    expect(decidePartition(view(claim("a"), { home: "b" }))).toBe("release");
    expect(decidePartition(view(claim("a"), { leaving: true }))).toBe("release");
    expect(decidePartition(view(claim("a")))).toBe("claim");
    expect(decidePartition(view(claim("b"), { leaving: true }))).toBe("keep");
    expect(decidePartition(view(claim(null), { home: "b" }))).toBe("keep");
  });
});

interface Rig {
  readonly broker: MemoryBroker;
  readonly membership: Membership;
  readonly opened: number[];
  readonly closed: number[];
  readonly put: (id: string, record?: NodeRecord) => Promise<void>;
  readonly claimOf: () => Promise<PartitionRecord>;
}

async function rig(
  host: (partition: number, epoch: number) => Promise<void> = async () => {},
  wrap: (inner: Transport) => Transport = (inner) => inner,
): Promise<Rig> {
  const broker = new MemoryBroker({ clock: systemClock, partitions: 1 });
  const transport = wrap(connectMemory(broker));
  const opened: number[] = [];
  const closed: number[] = [];
  const membership = new Membership({
    transport,
    clock: systemClock,
    logger: silentLogger,
    metrics: noMetrics,
    nodeId: "a",
    incarnation: "a-1",
    handoverMs: 500,
    unseated() {},
    async host(partition, epoch): Promise<HostedPartition> {
      opened.push(epoch);
      await host(partition, epoch);
      const close = async () => {
        closed.push(epoch);
      };
      return { epoch, drain: close, close };
    },
  });
  await membership.start();
  return {
    broker,
    membership,
    opened,
    closed,
    async put(id, record = nodeRecord(id)) {
      const value = new TextEncoder().encode(JSON.stringify(record));
      await transport.buckets.put("nodes", id, value);
    },
    async claimOf() {
      const found = await transport.buckets.get("partitions", "0");
      return JSON.parse(new TextDecoder().decode(found?.value)) as PartitionRecord;
    },
  };
}

describe("a claim", () => {
  test("whose host fails to open is made again with a later epoch, until it opens", async () => {
    let failures = 2;
    const { membership, opened, put } = await rig(async () => {
      failures -= 1;
      if (failures >= 0) throw new Error("the broker is slow");
    });
    await put("a");
    membership.activate();
    await eventually(() => membership.held.length === 1, { name: "held" });
    expect(opened).toEqual([1, 2, 3]);
    await membership.stop();
  });

  test("whose host fails to open is given back when the partition belongs elsewhere by then (N6)", async () => {
    const other = ["b", "c", "d", "e"].find((id) => decideHomes(1, ["a", id])[0] === id)!;
    const { claimOf, membership, put } = await rig(async () => {
      await put(other);
      throw new Error("the broker is slow");
    });
    await put("a");
    membership.activate();
    await eventually(async () => (await claimOf()).epoch === 1 && (await claimOf()).node === null, {
      name: "the other node may take it",
    });
    expect(membership.held).toEqual([]);
    await membership.stop();
  });

  test("that is fenced while its host opens is closed, and made again above what was seen", async () => {
    const gate = deferred();
    const { membership, opened, closed, put } = await rig((_, epoch) =>
      epoch === 1 ? gate.promise : Promise.resolve(),
    );
    await put("a");
    membership.activate();
    await eventually(() => opened.length === 1, { name: "the host opens" });
    membership.fenced(0, 7);
    gate.resolve();
    await eventually(() => membership.held.length === 1, { name: "held again" });
    expect(closed).toEqual([1]);
    expect(opened).toEqual([1, 8]);
    await membership.stop();
  });

  test("of a lease that lapsed while its host opened is void", async () => {
    const gate = deferred();
    const { membership, opened, closed, put } = await rig(() => gate.promise);
    await put("a");
    membership.activate();
    await eventually(() => opened.length === 1, { name: "the host opens" });
    await membership.abandonAll();
    gate.resolve();
    await eventually(() => closed.length === 1, { name: "it is closed" });
    expect(membership.held).toEqual([]);
    await membership.stop();
  });

  test("waits for the lease of a holder that our own view has lost (N2)", async () => {
    // The watch says nothing of b, as one that missed an event.
    const { membership, opened, put, claimOf, broker } = await rig(undefined, (inner) => ({
      ...inner,
      buckets: {
        ...inner.buckets,
        watch: (bucket, onEntry) =>
          inner.buckets.watch(bucket, (entry) => entry.key !== "b" && onEntry(entry)),
        list: async (bucket, prefix) =>
          (await inner.buckets.list(bucket, prefix)).filter(({ key }) => key !== "b"),
      },
    }));
    await put("b");
    const taken = { epoch: 4, node: "b", incarnation: "b-1" };
    const value = new TextEncoder().encode(JSON.stringify(taken));
    await connectMemory(broker).buckets.put("partitions", "0", value);
    await put("a");
    membership.activate();
    await eventually(() => membership.nodes.length === 1, { name: "a is seen" });
    let reads = 0;
    const bucket = broker.bucket("nodes");
    const get = bucket.get.bind(bucket);
    bucket.get = (key) => {
      if (key === "b") reads += 1;
      return get(key);
    };
    await eventually(() => reads >= 2, { name: "the lease is looked at" });
    expect(opened).toEqual([]);
    expect(await claimOf()).toEqual(taken);
    await connectMemory(broker).buckets.remove("nodes", "b");
    await eventually(() => membership.held.length === 1, { name: "taken over" });
    expect(opened).toEqual([5]);
    await membership.stop();
  });

  test("takes its own although its watch of the nodes says nothing, by looking for itself", async () => {
    const { membership, opened, put } = await rig(undefined, (inner) => ({
      ...inner,
      buckets: {
        ...inner.buckets,
        watch: (bucket, onEntry) =>
          inner.buckets.watch(bucket, (entry) => bucket !== "nodes" && onEntry(entry)),
      },
    }));
    await put("a");
    membership.activate();
    await eventually(() => membership.held.length === 1, { name: "the partition is held" });
    expect(opened).toHaveLength(1);
    await membership.stop();
  });
});

/** Refuses writes while the link is down. */
function cuttable(inner: Transport, link: { isUp: boolean }): Transport {
  return {
    ...inner,
    buckets: {
      ...inner.buckets,
      put: (...call) =>
        link.isUp ? inner.buckets.put(...call) : Promise.reject(new Error("the broker is away")),
    },
  };
}

describe("a node's lease", () => {
  function leaseRig(ttlMs = 300, clock: Clock = systemClock) {
    const broker = new MemoryBroker({ clock, partitions: 1 });
    const calls: string[] = [];
    const link = { isUp: true };
    const transport = cuttable(connectMemory(broker), link);
    const make = (id: string, incarnation: string) =>
      new NodeLease(
        {
          transport,
          clock,
          logger: silentLogger,
          metrics: noMetrics,
          ttlMs,
          async lost(reason) {
            calls.push(`${incarnation} lost ${reason}`);
          },
          held() {
            calls.push(`${incarnation} held`);
          },
        },
        nodeRecord(id, { incarnation }),
      );
    return { calls, link, make, buckets: connectMemory(broker).buckets };
  }

  test("that lapsed unseen is given up before it is taken again (L2)", async () => {
    const { calls, make, buckets } = leaseRig();
    const lease = make("a", "a-1");
    await lease.acquire();
    await buckets.remove("nodes", "a");
    await eventually(() => calls.length === 3, { name: "held again" });
    expect(calls).toEqual(["a-1 held", "a-1 lost expired", "a-1 held"]);
    expect(lease.mayAnswer()).toBe(true);
    await lease.release();
    expect(await buckets.get("nodes", "a")).toBeUndefined();
  });

  test("lets nobody answer from memory beyond the grace after which peers may remove it (L1)", async () => {
    const clock = new ManualClock();
    const { link, make } = leaseRig(60_000, clock);
    const lease = make("a", "a-1");
    await lease.acquire();
    await clock.advance(graceMs(0) - 1);
    expect(lease.mayAnswer()).toBe(true);
    link.isUp = false;
    await clock.advance(graceMs(0));
    expect([lease.mayAnswer(), lease.isHeld()]).toEqual([false, true]);
    link.isUp = true;
    await clock.advance(1_000);
    expect(lease.mayAnswer()).toBe(true);
    await lease.release();
  });

  test("taken from a run that may still live is used when that one can answer no more (L5)", async () => {
    const clock = new ManualClock();
    const { calls, make } = leaseRig(60_000, clock);
    const [first, second] = [make("a", "a-1"), make("a", "a-2")];
    await first.acquire();
    const acquired = second.acquire();
    await clock.advance(0);
    await clock.advance(graceMs(0) - 1);
    expect(calls).toEqual(["a-1 held", "a-1 lost replaced"]);
    await clock.advance(1);
    await acquired;
    expect(calls.at(-1)).toBe("a-2 held");
    expect([first.mayAnswer(), second.mayAnswer()]).toEqual([false, true]);
    await Promise.all([first.release(), second.release()]);
  });

  test("of a process that was replaced stays down (L3)", async () => {
    const { calls, make } = leaseRig();
    const [first, second] = [make("a", "a-1"), make("a", "a-2")];
    await first.acquire();
    await second.acquire();
    await eventually(() => calls.includes("a-1 lost replaced"), { name: "the first is told" });
    expect(first.mayAnswer()).toBe(false);
    expect(second.mayAnswer()).toBe(true);
    await first.release();
    expect(second.mayAnswer()).toBe(true);
    await second.release();
  });

  test("is not held longer than the broker keeps it when renewals fail (L1)", async () => {
    const { calls, link, make } = leaseRig(200);
    const lease = make("a", "a-1");
    await lease.acquire();
    link.isUp = false;
    await eventually(() => !lease.isHeld(), { name: "not held" });
    expect(lease.mayAnswer()).toBe(false);
    link.isUp = true;
    await eventually(() => lease.mayAnswer(), { name: "held again" });
    expect(calls.at(-1)).toBe("a-1 held");
    await lease.release();
  });
});

describe("a cluster", () => {
  test("is ready with more nodes than partitions, and one drained node serves nothing", async () => {
    await using cluster = await startCluster({ definitions: [probe()], nodes: 3, partitions: 1 });
    expect([...cluster.nodes.values()].every((node) => node.isReady())).toBe(true);
    const [holder] = [...cluster.nodes.values()].filter((node) => node.partitions().length > 0);
    await cluster.client.actor(Probe, "acme", "a").add({ n: 1 });
    await holder!.drain();
    expect(holder!.isReady()).toBe(false);
    expect(holder!.partitions()).toEqual([]);
    expect(await cluster.client.actor(Probe, "acme", "a").add({ n: 1 })).toEqual({ total: 2 });
    expect(holder!.nodes().find(({ id }) => id === holder!.id)?.draining).toBe(true);
  });

  test("of one node hands over on drain, too, though nobody is there to take it", async () => {
    await using cluster = await startCluster({ definitions: [probe()], nodes: 1 });
    await cluster.node("n1").drain();
    expect(cluster.node("n1").partitions()).toEqual([]);
    await cluster.start("n2");
    expect(await cluster.client.actor(Probe, "acme", "a").add({ n: 1 })).toEqual({ total: 1 });
  });
});
