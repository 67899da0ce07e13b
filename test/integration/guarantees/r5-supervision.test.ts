/** R5: a failing actor is restarted, stopped or escalated as declared; poison goes to the dead letters and comes back when asked. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DEFAULT_SUPERVISION } from "../../../runtime/supervision.ts";
import { probe, Warden, warden } from "../../support/actors.ts";
import { type Cluster, startCluster } from "../../support/cluster.ts";
import { eventually } from "../../support/eventually.ts";
import { BROKERS, heardBy, PATIENT, probeAt } from "./brokers.ts";

const supervision = {
  ...DEFAULT_SUPERVISION,
  maxAttempts: 3,
  intensity: { failures: 9, withinMs: 60_000 },
  stopMs: 60_000,
  backoff: { initialMs: 20, maxMs: 100 },
};

describe.each(BROKERS)("on $name", ({ on }) => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({
      definitions: [probe({ supervision }), warden],
      nodes: 2,
      partitions: 4,
      on,
    });
  });
  afterAll(() => cluster[Symbol.asyncDispose]());

  const lettersOf = async (key: string) => {
    const { letters } = await cluster.transport.deadLetters.list({ tenant: "acme", limit: 100 });
    return letters.filter(({ actor }) => actor.key === key);
  };

  test("poison is tried as often as declared, then stands in the dead letters with reason, attempts and epoch; what is behind it goes on", async () => {
    await probeAt(cluster, "a").hear({ text: "before" }, PATIENT);
    await probeAt(cluster, "a").hear({ text: "poison one" }, PATIENT);
    await probeAt(cluster, "a").hear({ text: "after" }, PATIENT);
    expect(await heardBy(cluster, "a", 2)).toEqual(["before", "after"]);
    await eventually(async () => (await lettersOf("a")).length === 1, { name: "its letter" });
    expect(await lettersOf("a")).toMatchObject([
      {
        reason: { code: "actor.failed", message: expect.stringContaining("poison one") as string },
        attempts: 3,
        epoch: expect.any(Number) as number,
        envelope: { type: "hear", payload: { text: "poison one" } },
      },
    ]);
  });

  test("a letter that is replayed is handled again, and one that is purged is gone", async () => {
    await probeAt(cluster, "b").hear({ text: "poison again" }, PATIENT);
    await eventually(async () => (await lettersOf("b")).length === 1, { name: "its letter" });
    const [letter] = await lettersOf("b");
    await cluster.transport.deadLetters.replay(letter!.id);
    await eventually(
      async () => {
        const [next] = await lettersOf("b");
        return next !== undefined && next.id !== letter!.id;
      },
      { name: "it failed again, and has a letter anew" },
    );
    const [next] = await lettersOf("b");
    expect(await cluster.transport.deadLetters.purge({ id: next!.id })).toBe(1);
    expect(await lettersOf("b")).toEqual([]);
  });

  test("an actor that fails more often than its intensity stops, refuses asks with its own error, and keeps its neighbours out of it", async () => {
    for (let n = 0; n < 5; n += 1)
      await probeAt(cluster, "c").hear({ text: `poison ${n}` }, PATIENT);
    await eventually(
      () =>
        probeAt(cluster, "c")
          .read({}, { timeoutMs: 1_000 })
          .then(
            () => false,
            ({ code }: { code: string }) => code === "actor.stopped",
          ),
      { name: "it is stopped", within: 20_000 },
    );
    expect(await probeAt(cluster, "d").add({ n: 1 }, PATIENT)).toEqual({ total: 1 });
  });

  test("a handler that throws leaves no trace of its turn", async () => {
    await probeAt(cluster, "e").add({ n: 1 }, PATIENT);
    await expect(probeAt(cluster, "e").add({ n: 5, fail: true }, PATIENT)).rejects.toMatchObject({
      code: "actor.failed",
    });
    expect(await probeAt(cluster, "e").read({}, PATIENT)).toMatchObject({ total: 1 });
    const { failures } = await cluster.client.actor(Warden, "acme", "nobody").read({}, PATIENT);
    expect(failures).toEqual([]);
  });
});
