/** R1, R2, R8 with nodes as processes of their own on three nats-servers, every stream on each: dying, pausing, restarting. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Probe } from "../../support/actors.ts";
import { eventually } from "../../support/eventually.ts";
import { probeLoad } from "../../support/probe-load.ts";
import {
  type ProcessCluster,
  shares,
  spread,
  startProcesses,
} from "../../support/process-cluster.ts";

const NODES = ["one", "two", "three"] as const;
const LEASE_TTL_MS = 8_000;
/** What the specification allows. */
const TAKEOVER_MS = 5_000;
/** What a call may be told while its actor has no owner. */
const NOBODY = /^(ask\.timeout|actor\.moved)$/;
const TIMEOUT_MS = 120_000;

let cluster: ProcessCluster;

beforeAll(async () => {
  cluster = await startProcesses(NODES, { on: "nats-cluster" });
});

afterAll(() => cluster?.[Symbol.asyncDispose]());

/** Load on actors of its own, for what one test promises is judged in that test. */
const loadOf = (prefix: string, options: Parameters<typeof probeLoad>[1]) =>
  probeLoad(cluster.client, { prefix, pauseMs: 50, ...options });

describe("on three nats-servers a node", { timeout: TIMEOUT_MS }, () => {
  test("that is killed is replaced within seconds, and nothing is lost or doubled (R1, R2, R8)", async () => {
    const load = loadOf("killed", { keys: 16, askTimeoutMs: 500 });
    await load.answered();
    await cluster.node("two").kill();
    const startedAt = performance.now();
    await load.answered();
    expect(performance.now() - startedAt).toBeLessThan(TAKEOVER_MS);
    await cluster.start("two");
    await spread(cluster, NODES);
    await load.stop();
    for (const { code } of load.failures) expect(code).toMatch(NOBODY);
    await load.expectKept();
  });

  test("that is paused past its lease commits nothing when it goes on, and takes its share again (R1, R2, R8)", async () => {
    const load = loadOf("paused", { keys: 16, askTimeoutMs: 1_000 });
    await load.answered();
    const waiting = Array.from({ length: 16 }, (_, n) =>
      cluster.client.actor(Probe, "acme", `waiting-${n}`),
    );
    for (const actor of waiting) await actor.add({ n: 1 });
    cluster.node("one").pause();
    // Those that its socket holds are what it tries to commit first when it goes on.
    const asked = waiting.map((actor) => actor.add({ n: 10 }, { timeoutMs: 60_000 }));
    await eventually(async () => shares(await cluster.claims())["one"] === undefined, {
      within: 2 * LEASE_TTL_MS,
      name: "the others have taken all over",
    });
    await load.answered();
    // Mail goes to the new owner alone, which writes each record under its own epoch.
    for (const actor of waiting) await actor.hear({ text: "from the new owner" });
    cluster.node("one").resume();
    await spread(cluster, NODES);
    const answers = await Promise.allSettled(asked);
    await load.answered();
    await load.stop();
    for (const { code } of load.failures) expect(code).toMatch(NOBODY);
    await load.expectKept();
    // Had both owners committed, it would be 21.
    for (const [n, actor] of waiting.entries()) {
      const { heard, total } = await actor.read({}, { timeoutMs: 20_000 });
      expect(heard).toEqual(["from the new owner"]);
      expect(answers[n]?.status === "fulfilled" ? [11] : [1, 11]).toContain(total);
    }
  });

  test("after the other is told to stop and started again, and no call fails (R2, R8)", async () => {
    const load = loadOf("rolled", { keys: 16, runEvery: 5 });
    await load.answered();
    for (const id of NODES) {
      expect(await cluster.node(id).terminate()).toBe(0);
      await cluster.start(id);
      await load.answered();
    }
    await spread(cluster, NODES);
    await load.stop();
    expect(load.failures).toEqual([]);
    await load.expectKept();
  });
});
