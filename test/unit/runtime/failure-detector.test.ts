/** R8: processes that died are found by their silence, those that live are let be. */
import { afterEach, describe, expect, test } from "vitest";
import { BerthError } from "../../../protocols/errors.ts";
import type { NodeRecord } from "../../../protocols/records.ts";
import { FailureDetector } from "../../../runtime/failure-detector.ts";
import { NodeLease } from "../../../runtime/lease.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { MemoryBroker } from "../../../runtime/memory/broker.ts";
import { connectMemory } from "../../../runtime/memory/transport.ts";
import { noMetrics } from "../../../runtime/metrics.ts";
import type { Transport } from "../../../runtime/transport.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const GRACE_MS = 1_000;

/** So long that no test here waits for a lease to run out. */
const TTL_MS = 120_000;

function rig() {
  const clock = new ManualClock();
  const broker = new MemoryBroker({ clock, partitions: 1 });
  const buckets = connectMemory(broker).buckets;
  const evicted: string[] = [];
  const live = async () => (await buckets.list("nodes", "")).map(({ key }) => key);
  const running: { stop(): Promise<void> }[] = [];

  /** A node's detector and lease, with the view read from the broker at each look. */
  async function node(id: string, wrap: (inner: Transport) => Transport = (inner) => inner) {
    const transport = wrap(connectMemory(broker));
    const record: NodeRecord = {
      ...{ id, incarnation: `${id}-1`, version: "0", started_at: 0, draining: false },
      ...{ drivers: [], kinds: [], evictions: 0 },
    };
    let leases: { record: NodeRecord; revision: number }[] = [];
    const watch = await transport.buckets.watch("nodes", ({ key, revision, value }) => {
      leases = leases.filter((lease) => lease.record.id !== key);
      if (!value) {
        if (key !== id) evicted.push(`${key} seen by ${id}`);
        else lease.check();
        return;
      }
      leases.push({ record: JSON.parse(new TextDecoder().decode(value)), revision });
    });
    const lease = new NodeLease(
      {
        ...{ transport, clock, logger: silentLogger, metrics: noMetrics, ttlMs: TTL_MS },
        lost: () => Promise.resolve(),
        held() {},
      },
      record,
    );
    const detector = new FailureDetector({
      ...{ transport, clock, logger: silentLogger, metrics: noMetrics },
      ...{ nodeId: id, incarnation: `${id}-1`, leases: () => leases },
    });
    await detector.start();
    await lease.acquire();
    const stop = async () => {
      lease.abandon();
      await detector.stop();
      await watch.close();
    };
    running.push({ stop });
    return { lease, die: stop };
  }
  return { buckets, clock, evicted, live, node, running };
}

let stopAll: (() => Promise<void>) | undefined;
afterEach(() => stopAll?.());

function start() {
  const made = rig();
  stopAll = async () => {
    for (const node of made.running) await node.stop();
  };
  return made;
}

describe("a process that died", () => {
  test("loses its lease within two seconds, long before the lease runs out", async () => {
    const { clock, live, node } = start();
    await node("a");
    const b = await node("b");
    await node("c");
    await clock.advance(5_000);
    expect(await live()).toEqual(["a", "b", "c"]);
    await b.die();
    await clock.advance(GRACE_MS - 100);
    expect(await live()).toEqual(["a", "b", "c"]);
    await clock.advance(800);
    expect(await live()).toEqual(["a", "c"]);
  });

  test("is found although its neighbours died with it, in any order", async () => {
    const { clock, live, node } = start();
    const all = new Map<string, Awaited<ReturnType<typeof node>>>();
    for (const id of ["a", "b", "c", "d", "e", "f"]) all.set(id, await node(id));
    await clock.advance(2_000);
    for (const id of ["b", "c", "d", "f"]) await all.get(id)!.die();
    await clock.advance(6 * GRACE_MS);
    expect(await live()).toEqual(["a", "e"]);
  });
});

describe("a node that lives", () => {
  /** Finds nobody on pulses that `isCut` names, as behind a server that does not know of the subscription. */
  const deaf =
    (isCut: (subject: string) => boolean) =>
    (inner: Transport): Transport => ({
      ...inner,
      bus: {
        ...inner.bus,
        request: (subject, data, ms) =>
          subject.startsWith("berth.pulse.") && isCut(subject)
            ? Promise.reject(new BerthError("actor.moved"))
            : inner.bus.request(subject, data, ms),
      },
    });

  test("keeps its lease when its connection comes back within the grace", async () => {
    const { clock, evicted, node } = start();
    let isAway = false;
    await node(
      "a",
      deaf((subject) => isAway && subject.includes(".b.")),
    );
    await node("b");
    await clock.advance(2_000);
    isAway = true;
    await clock.advance(GRACE_MS - 200);
    isAway = false;
    await clock.advance(5_000);
    expect(evicted).toEqual([]);
  });

  /** Joins, and never renews. */
  const joinsOnly = (inner: Transport): Transport => ({
    ...inner,
    buckets: {
      ...inner.buckets,
      async put(bucket, key, ...rest) {
        if (await inner.buckets.get(bucket, key)) throw new BerthError("broker.unavailable");
        return inner.buckets.put(bucket, key, ...rest);
      },
    },
  });

  test("that one peer cannot hear, and that cannot renew, comes back at once and is left alone for longer each time (L4)", async () => {
    const { clock, evicted, node, buckets } = start();
    await node(
      "a",
      deaf((subject) => subject.includes(".b.")),
    );
    await node("b", joinsOnly);
    await clock.advance(60_000);
    // Grace of 1, 2, 4, 8 and then 16 s, and a little: so many and no more.
    expect(evicted.length).toBeGreaterThanOrEqual(4);
    expect(evicted.length).toBeLessThanOrEqual(6);
    const found = await buckets.get("nodes", "b");
    const { evictions } = JSON.parse(new TextDecoder().decode(found?.value));
    expect(evictions).toBe(evicted.length);
  });

  test("keeps a lease that it renewed while it was suspected (D1)", async () => {
    const { clock, evicted, node } = start();
    await node(
      "a",
      deaf((subject) => subject.includes(".b.")),
    );
    await node("b");
    await clock.advance(20_000);
    expect(evicted).toEqual([]);
  });

  test("that is connected but paused is left to its lease", async () => {
    const { clock, evicted, node } = start();
    await node("a", (inner) => ({
      ...inner,
      bus: {
        ...inner.bus,
        request: (subject, data, ms) =>
          subject.includes(".b.")
            ? Promise.reject(new BerthError("ask.timeout"))
            : inner.bus.request(subject, data, ms),
      },
    }));
    await node("b");
    await clock.advance(30_000);
    expect(evicted).toEqual([]);
  });

  test("is not judged by one who does not reach itself (D2)", async () => {
    const { clock, evicted, node } = start();
    await node(
      "a",
      deaf(() => true),
    );
    await node("b");
    await clock.advance(10_000);
    expect(evicted).toEqual([]);
  });
});
