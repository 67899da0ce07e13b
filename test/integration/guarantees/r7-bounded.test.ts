/** R7: every mailbox, buffer and batch has a limit with a typed error at it; a slow actor hurts nobody else. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BerthError } from "../../../protocols/errors.ts";
import { DEFAULT_SUPERVISION } from "../../../runtime/supervision.ts";
import { probe } from "../../support/actors.ts";
import { type Cluster, startCluster } from "../../support/cluster.ts";
import { eventually } from "../../support/eventually.ts";
import { BROKERS, PATIENT, probeAt } from "./brokers.ts";

const CAPACITY = 300;

describe.each(BROKERS)("on $name", ({ on }) => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({
      definitions: [
        probe({
          // Stands still with its mail for the whole of the test.
          supervision: { ...DEFAULT_SUPERVISION, backoff: { initialMs: 600_000, maxMs: 600_000 } },
        }),
      ],
      nodes: 1,
      partitions: 1,
      mailboxCapacity: CAPACITY,
      on,
    });
  });
  afterAll(() => cluster[Symbol.asyncDispose]());

  test("a mailbox takes so many and then says that it is full; control still gets in and others are not held up", async () => {
    await probeAt(cluster, "slow").hear({ text: "poison" }, PATIENT);
    const outcomes = await Promise.allSettled(
      Array.from({ length: CAPACITY + 50 }, (_, n) =>
        probeAt(cluster, "slow").hear({ text: `${n}` }, { timeoutMs: 30_000 }),
      ),
    );
    const refused = outcomes.flatMap((outcome) =>
      outcome.status === "rejected" ? [outcome.reason as unknown] : [],
    );
    expect(refused.length).toBeGreaterThanOrEqual(50);
    for (const error of refused) {
      expect(error).toBeInstanceOf(BerthError);
      expect(error).toMatchObject({ code: "actor.mailbox_full", retry: "later" });
    }
    await probeAt(cluster, "slow").urgent({ text: "control" }, PATIENT);
    await eventually(
      async () => {
        const held = cluster
          .node("n1")
          .actors(10)
          .map(({ key }) => key);
        return held.includes("slow");
      },
      { name: "it is in memory" },
    );
    const before = performance.now();
    for (let n = 1; n <= 20; n += 1) {
      await probeAt(cluster, "neighbour").hear({ text: `${n}` }, PATIENT);
      expect(await probeAt(cluster, "neighbour").add({ n: 1 }, PATIENT)).toEqual({ total: n });
    }
    expect(performance.now() - before).toBeLessThan(20_000);
    const { heard } = await probeAt(cluster, "neighbour").read({}, PATIENT);
    expect(heard).toHaveLength(20);
  }, 60_000);

  test("a flood of asks is answered or refused with an error that says so, and the node lives on", async () => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 5_000 }, () =>
        // Long enough for a machine that has little time for us: none may be given up.
        probeAt(cluster, "hot").add({ n: 1 }, { timeoutMs: 120_000 }),
      ),
    );
    const codes = new Set(
      outcomes.flatMap((outcome) =>
        outcome.status === "rejected" ? [(outcome.reason as BerthError).code] : [],
      ),
    );
    codes.delete("actor.overloaded");
    expect([...codes]).toEqual([]);
    const answered = outcomes.filter(({ status }) => status === "fulfilled").length;
    expect((await probeAt(cluster, "hot").read({}, PATIENT)).total).toBe(answered);
    expect(answered).toBeGreaterThan(1_000);
  }, 180_000);

  test("a message and a state larger than the broker takes are refused by name, and cost the actor nothing", async () => {
    const size = 2 * 1024 * 1024; // The server takes 1 MiB.
    await probeAt(cluster, "big").add({ n: 1 }, PATIENT);
    await expect(probeAt(cluster, "big").hear({ text: "x".repeat(size) })).rejects.toMatchObject({
      code: "actor.state_too_large",
    });
    await probeAt(cluster, "big").grow({ size }, PATIENT);
    await eventually(
      async () => {
        const { letters } = await cluster.transport.deadLetters.list({ limit: 10 });
        return letters.some(({ reason }) => reason.code === "actor.state_too_large");
      },
      { name: "its letter" },
    );
    expect(await probeAt(cluster, "big").add({ n: 1 }, PATIENT)).toEqual({ total: 2 });
  });
});
