/** R5: actors that are parked or stopped, and the orders by which an operator changes that. */
import { describe, expect, test } from "vitest";
import { actorClient } from "../../../runtime/actor-client.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { decodeRecord } from "../../../runtime/record.ts";
import { DEFAULT_SUPERVISION, type Supervision } from "../../../runtime/supervision.ts";
import { type SystemOrder, sendSystem } from "../../../runtime/system-mail.ts";
import { Probe, type ProbeOptions, probe, probeTools } from "../../support/actors.ts";
import { type Cluster, type ClusterOptions, startCluster } from "../../support/cluster.ts";
import { eventually } from "../../support/eventually.ts";

const REF = { kind: "probe", tenant: "acme", key: "a" };
const PARK_ON_QUOTA: Supervision = {
  ...DEFAULT_SUPERVISION,
  on: { default: "restart", "quota.*": "park" },
  backoff: { initialMs: 1, maxMs: 4 },
};

async function withProbe(
  options: ProbeOptions = {},
  more: Partial<ClusterOptions> = {},
): Promise<Cluster> {
  return startCluster({ definitions: [probe(options)], tools: probeTools(), ...more });
}

const a = (cluster: Cluster) => cluster.client.actor(Probe, "acme", "a");
const order = (cluster: Cluster, message: SystemOrder) =>
  sendSystem({ transport: cluster.transport, clock: systemClock }, REF, message);
const heard = async (cluster: Cluster) => (await a(cluster).read({})).heard;
const hears = (cluster: Cluster, expected: readonly string[]) =>
  eventually(async () => expect(await heard(cluster)).toEqual(expected), {
    name: `it has heard ${expected.join(", ")}`,
  });
const record = async (cluster: Cluster) => {
  const found = await cluster.transport.records.load(REF, false);
  return decodeRecord(found!.data);
};
const letters = async (cluster: Cluster) =>
  (await cluster.transport.deadLetters.list({ limit: 50 })).letters;

describe("an actor that parks itself (R5)", () => {
  test("holds user, background and due mail, and handles control mail and reads", async () => {
    await using cluster = await withProbe();
    const probe = a(cluster);
    await probe.remind({ name: "soon", text: "due", afterMs: 30 });
    await probe.park({ code: "human.needed", message: "which key?" });
    await probe.hear({ text: "user" });
    await probe.later({ text: "background" });
    await eventually(() => cluster.broker.mail.flat().length === 3, { name: "all three wait" });
    await probe.urgent({ text: "control" });
    // A client that has told it nothing: its reads wait for no mail.
    const reader = actorClient({ transport: cluster.transport, clock: systemClock });
    const read = () => reader.actor(Probe, "acme", "a").read({});
    await eventually(async () => (await read()).heard.includes("control"), { name: "control" });
    expect(await read()).toMatchObject({ heard: ["parked", "control"], alarms: [] });
    await expect(reader.actor(Probe, "acme", "a").add({ n: 1 })).rejects.toMatchObject({
      code: "actor.parked",
      message: "parked by human.needed: which key?",
    });
    await probe.unpark({});
    await hears(cluster, ["parked", "control", "unparked from human.needed", "user", "background"]);
    await eventually(async () => (await probe.read({})).alarms.length === 1, { name: "the alarm" });
    expect(await letters(cluster)).toEqual([]);
  });

  test("answers a read that must come after held mail with why, not with silence (R4)", async () => {
    await using cluster = await withProbe();
    await a(cluster).park({ code: "human.needed", message: "?" });
    await a(cluster).hear({ text: "held" });
    await expect(a(cluster).read({})).rejects.toMatchObject({ code: "actor.parked" });
  });

  test("comes back by itself at its time, and says until when", async () => {
    await using cluster = await withProbe();
    await a(cluster).park({ code: "quota.hourly", message: "full", forMs: 400 });
    await a(cluster).hear({ text: "patient" });
    const error: unknown = await a(cluster)
      .add({ n: 1 })
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "actor.parked", retryAfterMs: expect.any(Number) });
    expect((error as { retryAfterMs: number }).retryAfterMs).toBeLessThanOrEqual(400);
    await hears(cluster, ["parked", "patient"]);
    await a(cluster).add({ n: 1 });
    expect(await record(cluster)).not.toHaveProperty("standing");
  });

  test("is parked still when another node takes it over, and its mail waits there", async () => {
    await using cluster = await withProbe({}, { nodes: 2 });
    await a(cluster).park({ code: "auth.expired", message: "log in" });
    await a(cluster).hear({ text: "held" });
    await expect(a(cluster).add({ n: 1 })).rejects.toMatchObject({ code: "actor.parked" });
    await cluster.crash("n1");
    await cluster.crash("n2");
    await cluster.start("n3");
    await cluster.settled();
    await expect(a(cluster).add({ n: 1 })).rejects.toMatchObject({ code: "actor.parked" });
    expect(await record(cluster)).toMatchObject({
      standing: { state: "parked", code: "auth.expired", message: "log in" },
    });
    await order(cluster, { type: "$unpark" });
    await hears(cluster, ["parked", "held"]);
  });

  test("stops in the middle of a batch: what queued up behind is not handled", async () => {
    await using cluster = await withProbe();
    const probe = a(cluster);
    await probe.add({ n: 1 });
    const told = [
      probe.hear({ text: "1" }),
      probe.park({ code: "human.needed", message: "?" }),
      probe.hear({ text: "2" }),
    ];
    await Promise.all(told);
    await eventually(() => cluster.broker.mail.flat().length === 1, { name: "one waits" });
    await order(cluster, { type: "$unpark" });
    await hears(cluster, ["1", "parked", "2"]);
  });
});

describe("a cause that parks (R5)", () => {
  test("leaves no trace of the turn and keeps the message, however often it comes back", async () => {
    await using cluster = await withProbe({ supervision: PARK_ON_QUOTA });
    await a(cluster).refuse({ code: "quota.hourly", afterMs: 20 });
    await a(cluster).hear({ text: "behind" });
    await eventually(
      async () => {
        const { standing, commit } = await record(cluster);
        expect(standing).toMatchObject({ state: "parked", code: "quota.hourly" });
        expect(commit).toBeGreaterThan(8);
      },
      { name: "parked again and again, past every bound of attempts" },
    );
    expect(await letters(cluster)).toEqual([]);
    expect(cluster.broker.mail.flat()).toHaveLength(2);
  });

  test("met by an ask parks the actor and tells the asker the cause itself", async () => {
    await using cluster = await withProbe({ supervision: PARK_ON_QUOTA });
    await expect(a(cluster).refuseAsk({ code: "quota.hourly" })).rejects.toMatchObject({
      code: "quota.hourly",
    });
    await expect(a(cluster).add({ n: 1 })).rejects.toMatchObject({ code: "actor.parked" });
  });

  test("does not take an ordinary answer of an ask for a failure", async () => {
    await using cluster = await withProbe({ supervision: PARK_ON_QUOTA });
    await expect(a(cluster).refuseAsk({ code: "job.not_found" })).rejects.toMatchObject({
      code: "job.not_found",
    });
    expect(await a(cluster).add({ n: 1 })).toEqual({ total: 1 });
  });
});

describe("an operator's order (R5)", () => {
  test("parks and unparks an actor of any kind", async () => {
    await using cluster = await withProbe();
    await order(cluster, { type: "$park", code: "human.needed", message: "look" });
    await eventually(
      () => expect(a(cluster).add({ n: 1 })).rejects.toMatchObject({ code: "actor.parked" }),
      { name: "parked" },
    );
    await order(cluster, { type: "$unpark" });
    await eventually(() => a(cluster).add({ n: 1 }), { name: "unparked" });
  });

  test("stops an actor, which then takes not even control mail, until it is restarted", async () => {
    await using cluster = await withProbe({ onRestart: "restarted" });
    await a(cluster).add({ n: 1 });
    await order(cluster, { type: "$stop", code: "human.needed", message: "no more" });
    await eventually(
      () => expect(a(cluster).read({})).rejects.toMatchObject({ code: "actor.stopped" }),
      { name: "stopped" },
    );
    await a(cluster).urgent({ text: "control" });
    await a(cluster).hear({ text: "user" });
    await order(cluster, { type: "$unpark" });
    await expect(a(cluster).read({})).rejects.toMatchObject({ code: "actor.stopped" });
    await order(cluster, { type: "$restart" });
    await hears(cluster, ["restarted after human.needed", "control", "user"]);
  });

  test("given twice under one id is one order (R3)", async () => {
    await using cluster = await withProbe({ onRestart: "restarted" });
    const parts = { transport: cluster.transport, clock: systemClock };
    await sendSystem(parts, REF, { type: "$restart" }, { id: "once" });
    await sendSystem(parts, REF, { type: "$restart" }, { id: "once" });
    await hears(cluster, ["restarted after nothing"]);
    expect(cluster.broker.mail.flat()).toEqual([]);
  });

  test("that no runtime knows stands in the dead letters and changes nothing (R2)", async () => {
    await using cluster = await withProbe();
    const bad = { id: "x1", type: "$explode", payload: {}, sentAt: 0 };
    const worse = { id: "x2", type: "$park", payload: { code: 7 }, sentAt: 0 };
    await cluster.transport.mailboxes.send(REF, "system", bad);
    await cluster.transport.mailboxes.send(REF, "system", worse);
    await eventually(async () => (await letters(cluster)).length === 2, { name: "two letters" });
    expect(await letters(cluster)).toMatchObject([
      { lane: "system", reason: { code: "request.invalid" } },
      { lane: "system", reason: { code: "actor.unknown_message" } },
    ]);
    expect(await a(cluster).add({ n: 1 })).toEqual({ total: 1 });
  });
});

describe("an ordered restart (R5)", () => {
  const slow = () => {
    let aborted = 0;
    const tools = {
      "test.double": (_: unknown, { signal }: { signal: AbortSignal }) =>
        new Promise<object>((_resolve, reject) => {
          signal.addEventListener("abort", () => {
            aborted += 1;
            reject(new Error("aborted"));
          });
        }),
    };
    return { tools, aborted: () => aborted };
  };

  test("that keeps: state and reminders stay, tools are cancelled and report nothing", async () => {
    const { tools, aborted } = slow();
    await using cluster = await withProbe({ onRestart: "restarted" }, { tools });
    await a(cluster).hear({ text: "before" });
    await a(cluster).remind({ name: "later", text: "still due", afterMs: 300 });
    await a(cluster).run({ n: 1 });
    await eventually(() => cluster.node("n1").actors(1)[0]?.effects.length === 1, {
      name: "it runs",
    });
    await order(cluster, { type: "$restart" });
    await hears(cluster, ["before", "restarted after nothing"]);
    await eventually(() => aborted() === 1, { name: "the tool was told to end" });
    await eventually(async () => (await a(cluster).read({})).alarms.length === 1, { name: "due" });
    expect(await record(cluster)).toMatchObject({ effects: {}, state: { results: [] } });
  });

  test("that resets: state and reminders go, what was handled stays handled (R3)", async () => {
    await using cluster = await withProbe({ restart: "reset", onRestart: "restarted" });
    await a(cluster).relay({ to: "b", texts: ["1"] });
    await a(cluster).add({ n: 5 });
    await a(cluster).remind({ name: "later", text: "never", afterMs: 60_000 });
    await eventually(() => cluster.broker.schedules.size === 1, { name: "scheduled" });
    const { cursor, nth } = await record(cluster);
    await order(cluster, { type: "$restart" });
    await hears(cluster, ["restarted after nothing"]);
    expect(await a(cluster).read({})).toMatchObject({ total: 0 });
    await eventually(() => cluster.broker.schedules.size === 0, { name: "the schedule is gone" });
    expect(await record(cluster)).toMatchObject({
      cursor,
      reminders: {},
    });
    expect((await record(cluster))["nth"]).toBeGreaterThanOrEqual(nth);
    await a(cluster).relay({ to: "b", texts: ["2"] });
    const b = cluster.client.actor(Probe, "acme", "b");
    await eventually(async () => (await b.read({})).heard.length === 2, { name: "b hears both" });
  });
});
