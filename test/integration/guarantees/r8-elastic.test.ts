/** R8: a node that joins takes its share, one that drains hands over with no failed call, one that dies is replaced in seconds. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { probe } from "../../support/actors.ts";
import { type Cluster, startCluster } from "../../support/cluster.ts";
import { eventually } from "../../support/eventually.ts";
import { BROKERS, load, PATIENT, probeAt } from "./brokers.ts";

const KEYS = Array.from({ length: 8 }, (_, n) => `k${n}`);
const PARTITIONS = 8;
/** Of a node that nobody finds dead, peers take over only then. */
const LEASE_TTL_MS = 20_000;

describe.each(BROKERS)("on $name", ({ on }) => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({
      definitions: [probe()],
      nodes: 1,
      partitions: PARTITIONS,
      on,
      leaseTtlMs: LEASE_TTL_MS,
    });
  });
  afterAll(() => cluster[Symbol.asyncDispose]());

  const totals = () =>
    Promise.all(KEYS.map(async (key) => (await probeAt(cluster, key).read({}, PATIENT)).total));

  /** Every acknowledged tell of this load was heard, once and in order. */
  async function expectTold(run: ReturnType<typeof load>) {
    for (const key of KEYS) {
      const told = run.told.get(key) ?? [];
      expect(told.length).toBeGreaterThan(0);
      await eventually(
        async () => {
          const { heard } = await probeAt(cluster, key).read({}, PATIENT);
          expect(heard.filter((text) => text.startsWith(run.name))).toEqual(told);
        },
        { name: `${key} has heard all`, within: 30_000 },
      );
    }
  }

  test("joining and draining move partitions under load with no failed ask and no lost tell", async () => {
    const run = load(cluster, KEYS);
    await run.underWay();
    await cluster.start("n2");
    await cluster.settled();
    expect(cluster.node("n2").partitions().length).toBeGreaterThan(0);
    expect(cluster.node("n1").partitions().length).toBeGreaterThan(0);
    await cluster.node("n1").drain();
    expect(cluster.node("n1").partitions()).toEqual([]);
    await eventually(() => cluster.node("n2").partitions().length === PARTITIONS, {
      name: "n2 has all",
    });
    await run.stop();
    expect(run.failures).toEqual([]);
    expect(await totals()).toEqual(KEYS.map((key) => run.added.get(key)));
    await expectTold(run);
    await cluster.stop("n1");
    await cluster.start("n1");
    await cluster.settled();
  }, 90_000);

  test("a node that dies is replaced in seconds, long before its lease of twenty runs out", async () => {
    const before = await totals();
    const run = load(cluster, KEYS);
    await run.underWay();
    const diedAt = performance.now();
    await cluster.crash("n1");
    await eventually(() => cluster.node("n2").partitions().length === PARTITIONS, {
      name: "n2 has all",
      within: LEASE_TTL_MS,
    });
    for (const key of KEYS) await probeAt(cluster, key).read({}, PATIENT);
    expect(performance.now() - diedAt).toBeLessThan(LEASE_TTL_MS / 2);
    await run.stop();
    for (const { code } of run.failures) expect(code).toMatch(/^(ask\.timeout|actor\.moved)$/);
    await expectTold(run);
    const after = await totals();
    for (const [at, key] of KEYS.entries()) {
      // What was answered happened; what was not may have.
      const sure = before[at]! + run.added.get(key)!;
      expect(after[at]).toBeGreaterThanOrEqual(sure);
      expect(after[at]).toBeLessThanOrEqual(sure + run.failures.length);
    }
    await cluster.start("n1");
    await cluster.settled();
  }, 90_000);

  test("every node may go and come, one after the other, without a failed call", async () => {
    await cluster.start("n3");
    await cluster.settled();
    const before = await totals();
    const run = load(cluster, KEYS);
    await run.underWay();
    for (const id of ["n1", "n2", "n3"]) {
      await cluster.stop(id);
      await cluster.start(id);
      await cluster.settled();
    }
    await run.stop();
    expect(run.failures).toEqual([]);
    const expected = KEYS.map((key, at) => before[at]! + run.added.get(key)!);
    expect(await totals()).toEqual(expected);
    await expectTold(run);
    await cluster.stop("n3");
  }, 120_000);
});
