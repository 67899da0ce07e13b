/** R5: what becomes of an actor whose handler threw. */
import { describe, expect, test } from "vitest";
import {
  DEFAULT_SUPERVISION,
  decideSupervision,
  type Supervision,
} from "../../../runtime/supervision.ts";
import {
  Probe,
  type ProbeOptions,
  probe,
  probeTools,
  Warden,
  warden,
} from "../../support/actors.ts";
import { type Cluster, startCluster } from "../../support/cluster.ts";
import { eventually } from "../../support/eventually.ts";

const FAST: Supervision = {
  ...DEFAULT_SUPERVISION,
  maxAttempts: 3,
  backoff: { initialMs: 1, maxMs: 4 },
};

async function withProbe(options: ProbeOptions, noted: string[] = []): Promise<Cluster> {
  const definitions = [probe(options), warden];
  return startCluster({ definitions, tools: probeTools(noted) });
}

const letters = (cluster: Cluster, count: number) =>
  eventually(
    async () => {
      const found = await cluster.transport.deadLetters.list({ limit: 50 });
      return found.letters.length >= count && found.letters;
    },
    { name: `${count} dead letters` },
  );

describe("the decision", () => {
  const failure = {
    code: "actor.failed",
    lane: "user",
    attempts: 1,
    retry: "later",
    failedAt: [],
    now: 1_000,
  } as const;

  test("tries again with a growing, spread pause, then gives the message up", () => {
    const policy = { ...FAST, backoff: { initialMs: 100, maxMs: 150 } };
    const at = (attempts: number, random: number) =>
      decideSupervision(policy, { ...failure, attempts }, random);
    expect(at(1, 0)).toEqual({ action: "retry", afterMs: 50 });
    expect(at(1, 0.99)).toEqual({ action: "retry", afterMs: 100 });
    expect(at(2, 0.99)).toEqual({ action: "retry", afterMs: 149 });
    expect(at(3, 0)).toEqual({ action: "dead-letter" });
  });

  test("stops the actor when it fails more often than its intensity, not before", () => {
    const policy = { ...FAST, intensity: { failures: 3, withinMs: 100 } };
    const at = (failedAt: number[]) =>
      decideSupervision(policy, { ...failure, failedAt }, 0).action;
    expect(at([990, 995])).toBe("retry");
    expect(at([990, 995, 999])).toBe("stop");
    expect(at([100, 200, 300, 999])).toBe("retry");
  });
});

describe("restart", () => {
  test("tries a message again and keeps those behind it waiting, then buries it with its reason", async () => {
    await using cluster = await withProbe({ supervision: FAST });
    const handle = cluster.client.actor(Probe, "acme", "a");
    for (const text of ["before", "poison", "after"]) await handle.hear({ text });
    const [letter] = await letters(cluster, 1);
    expect(letter).toMatchObject({
      actor: { kind: "probe", tenant: "acme", key: "a" },
      lane: "user",
      envelope: { type: "hear", payload: { text: "poison" } },
      reason: { code: "actor.failed", message: "cannot bear poison" },
      attempts: 3,
    });
    await eventually(async () => (await handle.read({})).heard.length === 2, { name: "the rest" });
    expect((await handle.read({})).heard).toEqual(["before", "after"]);
  });

  test("does not run a tool again that had ended (R3)", async () => {
    const noted: string[] = [];
    await using cluster = await withProbe({ supervision: FAST }, noted);
    const handle = cluster.client.actor(Probe, "acme", "a");
    await handle.jot({ text: "one" });
    await eventually(() => noted.length === 1, { name: "the tool ran" });
    await handle.hear({ text: "poison" });
    await letters(cluster, 1);
    await handle.add({ n: 1 });
    expect(noted).toEqual(["one"]);
  });
});

describe("resume", () => {
  test("gives the message up at once and keeps the state from before it", async () => {
    await using cluster = await withProbe({ supervision: { ...FAST, on: { default: "resume" } } });
    const handle = cluster.client.actor(Probe, "acme", "a");
    await handle.add({ n: 5 });
    await handle.hear({ text: "poison" });
    expect(await letters(cluster, 1)).toMatchObject([{ attempts: 1 }]);
    expect(await handle.read({})).toMatchObject({ total: 5, heard: [] });
  });
});

describe("stop", () => {
  test("refuses asks and holds mail until the pause is over, losing none", async () => {
    const supervision = { ...FAST, on: { default: "stop" }, stopMs: 600 } as const;
    await using cluster = await withProbe({ supervision });
    const handle = cluster.client.actor(Probe, "acme", "a");
    await handle.hear({ text: "poison" });
    await letters(cluster, 1);
    await expect(handle.read({})).rejects.toMatchObject({ code: "actor.stopped" });
    await handle.hear({ text: "patient" });
    await eventually(async () => (await handle.read({})).heard.includes("patient"), {
      name: "the pause ends",
    });
    expect((await handle.read({})).heard).toEqual(["patient"]);
  });

  test("comes of failures more frequent than the intensity allows", async () => {
    const supervision = { ...FAST, maxAttempts: 99, intensity: { failures: 4, withinMs: 60_000 } };
    await using cluster = await withProbe({ supervision });
    const handle = cluster.client.actor(Probe, "acme", "a");
    await handle.hear({ text: "poison" });
    expect(await letters(cluster, 1)).toMatchObject([{ attempts: 5 }]);
    await expect(handle.read({})).rejects.toMatchObject({ code: "actor.stopped" });
  });
});

describe("escalate", () => {
  test("tells the named actor of a failure, of a tell and of an ask", async () => {
    const supervision: Supervision = {
      ...FAST,
      on: { default: "escalate" },
      stopMs: 1,
      escalateTo: { protocol: Warden, key: "main", message: "childFailed" },
    };
    await using cluster = await withProbe({ supervision });
    const handle = cluster.client.actor(Probe, "acme", "a");
    await handle.hear({ text: "poison" });
    const failures = async () =>
      (await cluster.client.actor(Warden, "acme", "main").read({})).failures;
    await eventually(async () => (await failures()).length === 1, { name: "told of the tell" });
    const asked = eventually(
      async () => {
        const error = await handle.add({ n: 1, fail: true }).catch((thrown: unknown) => thrown);
        expect(error).toMatchObject({ code: "actor.failed" });
      },
      { name: "the ask is refused by its own error" },
    );
    await asked;
    await eventually(async () => (await failures()).length === 2, { name: "told of the ask" });
    expect(await failures()).toEqual([
      "acme/probe/a: cannot bear poison",
      "acme/probe/a: told to fail",
    ]);
  });
});

describe("an ask", () => {
  test("that throws changes nothing, tells its asker, and is not tried again", async () => {
    await using cluster = await withProbe({ supervision: FAST });
    const handle = cluster.client.actor(Probe, "acme", "a");
    await handle.add({ n: 1 });
    await expect(handle.add({ n: 9, fail: true })).rejects.toMatchObject({
      code: "actor.failed",
      message: "told to fail",
    });
    expect(await handle.read({})).toMatchObject({ total: 1 });
  });
});

describe("a state that its schema does not take", () => {
  test("is never stored: the turn that leaves it fails as one that throws", async () => {
    await using cluster = await withProbe({ supervision: FAST });
    const handle = cluster.client.actor(Probe, "acme", "a");
    await handle.add({ n: 1 });
    await handle.spoil({});
    await handle.hear({ text: "after" });
    expect(await letters(cluster, 1)).toMatchObject([
      { envelope: { type: "spoil" }, reason: { code: "actor.state_unreadable" } },
    ]);
    await eventually(async () => (await handle.read({})).heard.length === 1, { name: "goes on" });
    expect(await handle.read({})).toMatchObject({ total: 1, heard: ["after"] });
  });

  test("found in a record makes letters of its mail and errors of its asks, not a loop", async () => {
    await using cluster = await withProbe({ supervision: FAST });
    const ref = { kind: "probe", tenant: "acme", key: "a" };
    const handle = cluster.client.actor(Probe, "acme", "a");
    await handle.add({ n: 1 });
    let loads = 0;
    const { records } = cluster.transport;
    const found = (await records.load(ref, false))!;
    const record = JSON.parse(new TextDecoder().decode(found.data)) as { state: object };
    record.state = { total: "many" };
    const data = new TextEncoder().encode(JSON.stringify(record));
    await cluster.stop("n1");
    const options = { expected: found.revision, journaled: false, pending: false as const };
    await records.commit(ref, data, options);
    await cluster.start("n1");
    await cluster.settled();
    const pages = cluster.broker.pages;
    const get = pages.get.bind(pages);
    pages.get = (key) => {
      if (key.endsWith("acme/probe/a")) loads += 1;
      return get(key);
    };
    await handle.hear({ text: "x" });
    await handle.hear({ text: "y" });
    expect(await letters(cluster, 2)).toHaveLength(2);
    await expect(handle.read({})).rejects.toMatchObject({ code: "actor.state_unreadable" });
    expect(loads).toBeLessThan(6);
  });
});

describe("a poisonous result of a tool", () => {
  test("ends its effect: it is not run again by the next activation", async () => {
    let runs = 0;
    await using cluster = await startCluster({
      definitions: [probe({ supervision: FAST, passivateAfterMs: 50 })],
      tools: {
        "test.double": () => {
          runs += 1;
          return Promise.resolve({ twice: "no number" });
        },
      },
    });
    const handle = cluster.client.actor(Probe, "acme", "a");
    await handle.run({ n: 1 });
    await letters(cluster, 1);
    await eventually(() => cluster.node("n1").actors(9).length === 0, { name: "passivated" });
    await handle.add({ n: 1 });
    expect(runs).toBe(1);
  });
});

describe("mail for a kind that no node serves", () => {
  test("stands in the dead letters, and can be replayed once the kind is served", async () => {
    await using cluster = await startCluster({ definitions: [warden] });
    await cluster.client.actor(Probe, "acme", "a").hear({ text: "early" });
    const [letter] = await letters(cluster, 1);
    expect(letter).toMatchObject({ reason: { code: "actor.unknown_kind" } });
    await cluster.stop("n1");
    const { startNode } = await import("../../../runtime/node.ts");
    const { silentLogger } = await import("../../../runtime/logger.ts");
    const { noMetrics } = await import("../../../runtime/metrics.ts");
    const { systemClock } = await import("../../../runtime/clock.ts");
    const node = await startNode({
      transport: await cluster.connect("n2"),
      definitions: [probe()],
      tools: {},
      clock: systemClock,
      logger: silentLogger,
      metrics: noMetrics,
      random: Math.random,
      nodeId: "n2",
      version: "0",
      drivers: [],
    });
    await cluster.transport.deadLetters.replay(letter!.id);
    const handle = cluster.client.actor(Probe, "acme", "a");
    await eventually(async () => (await handle.read({})).heard.length === 1, { name: "replayed" });
    expect((await cluster.transport.deadLetters.list({ limit: 9 })).letters).toEqual([]);
    await node.stop();
  });
});
