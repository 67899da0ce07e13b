/** What an actor says it waits on: each state brought about, none guessed. */
import { describe, expect, onTestFinished, test } from "vitest";
import type { ApiActivation } from "../../../protocols/inspection.ts";
import { activationQuerySchema } from "../../../protocols/inspection.ts";
import { actorClient } from "../../../runtime/actor-client.ts";
import { pack } from "../../../runtime/ask-codec.ts";
import type { Client } from "../../../runtime/client.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { MemoryBroker } from "../../../runtime/memory/broker.ts";
import { connectMemory } from "../../../runtime/memory/transport.ts";
import { noMetrics } from "../../../runtime/metrics.ts";
import { type RunningNode, startNode } from "../../../runtime/node.ts";
import { DEFAULT_SUPERVISION, type Supervision } from "../../../runtime/supervision.ts";
import type { Tools } from "../../../runtime/tools.ts";
import type { Transport } from "../../../runtime/transport.ts";
import { Probe, type ProbeOptions, probe, probeTools } from "../../support/actors.ts";
import { eventually } from "../../support/eventually.ts";

interface Rig {
  readonly client: Client;
  readonly transport: Transport;
  readonly node: RunningNode;
  /** What the node says of `acme/probe/<key>`. */
  look(key?: string): ApiActivation | undefined;
  /** Resolves with the view once it is in that state. */
  reaches(type: string, key?: string): Promise<ApiActivation>;
}

/** One node whose way to the broker is bent by the test. */
async function startRig(
  options: ProbeOptions & {
    readonly tools?: Tools;
    readonly bend?: (transport: Transport) => Partial<Transport>;
  } = {},
): Promise<Rig> {
  const broker = new MemoryBroker({ clock: systemClock, partitions: 4, mailboxCapacity: 1_000 });
  const transport = connectMemory(broker);
  const client = actorClient({ transport, clock: systemClock });
  const node = await startNode({
    transport: { ...transport, ...options.bend?.(transport) },
    definitions: [probe(options)],
    tools: options.tools ?? probeTools(),
    clock: systemClock,
    logger: silentLogger,
    metrics: noMetrics,
    random: () => 0.99,
    nodeId: "n1",
    version: "0.0.0",
    drivers: [],
    handoverMs: 50,
  });
  await eventually(() => node.isReady(), { name: "the node is ready" });
  onTestFinished(async () => {
    await node.stop();
    await transport.close();
  });
  const look = (key = "a") => node.findActor({ tenant: "acme", kind: "probe", key });
  const reaches = (type: string, key?: string) =>
    eventually(
      () => {
        const view = look(key);
        return view?.state.type === type && view;
      },
      { name: `the actor is ${type}` },
    );
  return { client, transport, node, look, reaches };
}

/** A promise that the test resolves. */
function held() {
  let release = () => {};
  const until = new Promise<void>((resolve) => {
    release = resolve;
  });
  onTestFinished(() => release());
  return { until, release };
}

const call = { timeoutMs: 20_000 };
const SLOW: Supervision = {
  ...DEFAULT_SUPERVISION,
  backoff: { initialMs: 60_000, maxMs: 60_000 },
};

describe("an actor that waits says on what", () => {
  test("its record: loading", async () => {
    const { until, release } = held();
    const rig = await startRig({
      bend: ({ records }) => ({
        records: { ...records, load: (...args) => until.then(() => records.load(...args)) },
      }),
    });
    const answer = rig.client.actor(Probe, "acme", "a").add({ n: 1 }, call);
    const view = await rig.reaches("loading");
    expect(view).toMatchObject({ node: "n1", kind: "probe", tenant: "acme", key: "a", turns: 0 });
    release();
    expect(await answer).toEqual({ total: 1 });
  });

  test("its commit, with the message, how many share it and how many wait behind it", async () => {
    const { until, release } = held();
    const rig = await startRig({
      bend: ({ records }) => ({
        records: { ...records, commit: (...args) => until.then(() => records.commit(...args)) },
      }),
    });
    const handle = rig.client.actor(Probe, "acme", "a");
    const first = handle.add({ n: 1 }, call);
    await rig.reaches("committing");
    await handle.urgent({ text: "x" });
    const second = handle.add({ n: 1 }, call);
    const two = () => [rig.look()].find((seen) => seen?.waiting === 2) ?? false;
    const view = await eventually(two, { name: "two wait" });
    expect(view).toMatchObject({
      state: { type: "committing", message: "add", turns: 1 },
      mailbox: { control: 1, user: 0, asks: 1 },
      waiting: 2,
    });
    expect(view.oldest_waiting_ms).toBeGreaterThanOrEqual(0);
    release();
    await Promise.all([first, second]);
    const idle = await rig.reaches("idle");
    expect(idle).toMatchObject({ turns: 3, waiting: 0, oldest_waiting_ms: null, last_error: null });
  });

  test("its outbox: how many entries are left and who should get the oldest", async () => {
    const { until, release } = held();
    const rig = await startRig({
      bend: ({ mailboxes }) => ({
        mailboxes: { ...mailboxes, send: (...args) => until.then(() => mailboxes.send(...args)) },
      }),
    });
    await rig.client.actor(Probe, "acme", "a").relay({ to: "b", texts: ["1", "2"] });
    const view = await rig.reaches("publishing");
    expect(view.state).toEqual({ type: "publishing", left: 2, to: "acme/probe/b" });
    release();
    await rig.reaches("idle");
  });

  test("the next try of a message that failed, with its error, and mail behind it", async () => {
    const rig = await startRig({ supervision: SLOW });
    const handle = rig.client.actor(Probe, "acme", "a");
    await handle.hear({ text: "poison" });
    await handle.hear({ text: "fine" });
    await rig.reaches("backoff");
    const two = () => [rig.look()].find((seen) => seen?.waiting === 2) ?? false;
    const view = await eventually(two, { name: "two wait" });
    expect(view).toMatchObject({
      state: { type: "backoff", attempts: 1, code: "actor.failed" },
      last_error: { code: "actor.failed", message: "cannot bear poison" },
    });
    expect(Date.parse(view.state.until!)).toBeGreaterThan(Date.now() + 20_000);
  });

  test("the end of a pause after the broker failed", async () => {
    const rig = await startRig({
      bend: ({ records }) => ({
        records: { ...records, load: () => Promise.reject(new Error("no broker")) },
      }),
    });
    const asked = rig.client.actor(Probe, "acme", "a").add({ n: 1 }, { timeoutMs: 500 });
    asked.catch(() => undefined);
    const view = await rig.reaches("backoff");
    expect(view.state).toMatchObject({ attempts: 0, code: "internal.unexpected" });
    await expect(asked).rejects.toMatchObject({ code: "ask.timeout" });
  });

  test("the end of a stop that its supervision decided", async () => {
    const rig = await startRig({
      supervision: { ...SLOW, on: { default: "stop" }, stopMs: 60_000 },
    });
    await rig.client.actor(Probe, "acme", "a").hear({ text: "poison" });
    const view = await rig.reaches("stopped");
    expect(view.state).toMatchObject({ code: "actor.failed", reason: "cannot bear poison" });
    expect(Date.parse(view.state.until!)).toBeGreaterThan(Date.now() + 30_000);
  });

  test("the next messages of a mailbox that is too long for memory", async () => {
    const commit = held();
    const reading = held();
    let isAwake = false;
    const rig = await startRig({
      bend: ({ mailboxes, records }) => ({
        records: {
          ...records,
          commit: (...args) =>
            isAwake ? commit.until.then(() => records.commit(...args)) : records.commit(...args),
        },
        mailboxes: {
          ...mailboxes,
          read: (...args) => reading.until.then(() => mailboxes.read(...args)),
        },
      }),
    });
    const handle = rig.client.actor(Probe, "acme", "a");
    await handle.add({ n: 1 }, call);
    isAwake = true;
    for (let n = 0; n < 300; n += 1) await handle.hear({ text: String(n) });
    await eventually(() => (rig.look()?.waiting ?? 0) > 200, { name: "all wait" });
    commit.release();
    const view = await rig.reaches("reading-mail");
    expect(view.state).toEqual({ type: "reading-mail", left: view.waiting });
    expect(view.waiting).toBeGreaterThan(100);
    reading.release();
    await rig.reaches("idle");
    expect((await handle.read({})).heard).toHaveLength(300);
  });

  test("mail of the asker that has not come: its lane and number (R4)", async () => {
    const rig = await startRig();
    const { client, transport } = rig;
    await client.actor(Probe, "acme", "a").add({ n: 1 }, call);
    const ask = {
      id: "ask_1",
      type: "add",
      payload: { n: 1 },
      deadline: Date.now() + 5_000,
      after: { user: 9_999 },
    };
    const partition = rig.look()!.partition;
    const answer = transport.bus.request(`berth.ask.${partition}.acme.probe.a`, pack(ask), 300);
    answer.catch(() => undefined);
    const view = await rig.reaches("waiting-for-mail");
    expect(view.state).toEqual({ type: "waiting-for-mail", lane: "user", seq: 9_999 });
    await expect(answer).rejects.toMatchObject({ code: "ask.timeout" });
  });

  test("tools that run for it, and since when", async () => {
    const { until, release } = held();
    const tools: Tools = { "test.double": () => until.then(() => ({ twice: 4 })) };
    const rig = await startRig({ tools });
    await rig.client.actor(Probe, "acme", "a").run({ n: 2 });
    const view = await rig.reaches("effects");
    expect(view.state).toEqual({ type: "effects", tools: ["test.double"] });
    expect(view.effects).toMatchObject([{ tool: "test.double" }]);
    expect(view.effects[0]!.for_ms).toBeGreaterThanOrEqual(0);
    release();
    expect((await rig.reaches("idle")).effects).toEqual([]);
  });
});

describe("an ask that gets no answer in time", () => {
  test("tells its caller what the actor was doing, inside its time", async () => {
    const { until } = held();
    const rig = await startRig({
      bend: ({ records }) => ({
        records: { ...records, commit: (...args) => until.then(() => records.commit(...args)) },
      }),
    });
    const startedAt = performance.now();
    const ask = rig.client.actor(Probe, "acme", "a").add({ n: 1 }, { timeoutMs: 300 });
    const error = await ask.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(performance.now() - startedAt).toBeLessThan(1_000);
    expect(error).toMatchObject({ code: "ask.timeout" });
    expect(String(error)).toMatch(
      /acme\/probe\/a on node n1: .*committing \(message add, turns 1\)/,
    );
  });

  test("tells that its owner is silent when even that is not answered", async () => {
    const transport = connectMemory(new MemoryBroker({ clock: systemClock, partitions: 4 }));
    transport.bus.serve("berth.ask.>", "owner", () => {});
    transport.bus.serve("berth.inspect.>", "owner", () => {});
    const client = actorClient({ transport, clock: systemClock });
    const ask = client.actor(Probe, "acme", "a").add({ n: 1 }, { timeoutMs: 100 });
    await expect(ask).rejects.toThrow("the owner of acme/probe/a does not answer at all");
  });
});

describe("a node's list of actors", () => {
  test("is filtered by kind, tenant and state, and cut into pages by name", async () => {
    const rig = await startRig();
    const { client } = rig;
    for (const key of ["c", "a", "b"]) await client.actor(Probe, "acme", key).add({ n: 1 }, call);
    await client.actor(Probe, "other", "z").add({ n: 1 }, call);
    const isQuiet = () => rig.node.actors(9).every(({ state }) => state.type === "idle");
    await eventually(isQuiet, { name: "all are idle" });
    const list = (query: object) => {
      const { actors, total } = rig.node.listActors(activationQuerySchema.parse(query));
      return { keys: actors.map(({ key }) => key), total };
    };
    expect(list({ tenant: "acme", sort: "name", limit: 2 })).toEqual({
      keys: ["a", "b"],
      total: 3,
    });
    expect(list({ tenant: "acme", sort: "name", after: "acme/probe/b" }).keys).toEqual(["c"]);
    expect(list({ tenant: "other", kind: "probe", state: "idle" }).keys).toEqual(["z"]);
    expect(list({ kind: "nothing" })).toEqual({ keys: [], total: 0 });
    expect(list({ state: "stopped" })).toEqual({ keys: [], total: 0 });
    expect(rig.node.census()).toMatchObject({ turns: 4, activations: 4, waiting: 0, effects: 0 });
  });
});
