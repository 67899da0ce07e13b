/** R5: parents and children, strategies, order and restart intensity. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ActorRef } from "../../../protocols/ids.ts";
import { refName } from "../../../protocols/ids.ts";
import { type ChildPolicy, DEFAULT_CHILDREN, decideChildren } from "../../../runtime/children.ts";
import { systemClock } from "../../../runtime/clock.ts";
import type { ActorRecord } from "../../../runtime/record.ts";
import { sendSystem } from "../../../runtime/system-mail.ts";
import { type Cluster, startCluster } from "../../support/cluster.ts";
import { eventually } from "../../support/eventually.ts";
import { Member, type MemberOptions, member, Squad, squad } from "../../support/family.ts";

const KEYS = ["c1", "c2", "c3", "c4"];
const ref = (kind: string, key: string): ActorRef => ({ kind, tenant: "acme", key });

function recordOf(cluster: Cluster, of: ActorRef): ActorRecord {
  const page = cluster.broker.pages.get(`record:${refName(of)}`)?.at(-1);
  return JSON.parse(new TextDecoder().decode(page?.data)) as ActorRecord;
}

/** A squad that supervises four members; `log` holds every change of an actor's standing, in the order of commits. */
async function withSquad(children: Partial<ChildPolicy> = {}, options: MemberOptions = {}) {
  const log: string[] = [];
  const known = new Map<string, string>();
  const cluster: Cluster = await startCluster({
    definitions: [member(options), squad(children)],
    perNode: () => ({
      onStep(step, of) {
        if (step !== "committed") return;
        const { standing, state } = recordOf(cluster, of);
        const restarts = (state as { restarts?: number }).restarts ?? 0;
        const now = standing?.state ?? `active ${restarts}`;
        if (now !== (known.get(refName(of)) ?? "active 0"))
          log.push(`${of.key} ${now.split(" ")[0]}`);
        known.set(refName(of), now);
      },
    }),
  });
  await cluster.client.actor(Squad, "acme", "s").hire({ keys: KEYS });
  for (const key of KEYS) {
    await eventually(() => recordOf(cluster, ref("member", key)).family?.parent !== undefined, {
      name: `${key} is adopted`,
    });
  }
  return Object.assign(cluster, { log });
}

const tellTo = (cluster: Cluster, key: string) => cluster.client.actor(Member, "acme", key);
const restarts = async (cluster: Cluster, keys = KEYS) =>
  Promise.all(keys.map(async (key) => (await tellTo(cluster, key).read({})).restarts));
const quiet = (cluster: Cluster) =>
  eventually(() => cluster.broker.mail.every((mail) => mail.length === 0), {
    name: "no mail left",
  });
const letters = async (cluster: Cluster) =>
  (await cluster.transport.deadLetters.list({ limit: 50 })).letters;

describe("the decision (R5)", () => {
  const policies = fc.record({
    strategy: fc.constantFrom("one-for-one", "rest-for-one", "one-for-all"),
    intensity: fc.record({ failures: fc.nat(5), withinMs: fc.nat(100) }),
    stopMs: fc.nat(),
  });
  const cases = fc
    .record({
      count: fc.integer({ min: 1, max: 8 }),
      at: fc.nat(7),
      pending: fc.array(fc.nat(7)),
      failedAt: fc.array(fc.integer({ min: 900, max: 1_000 })),
    })
    .map(({ count, at, pending, failedAt }) => ({
      children: Array.from({ length: count }, (_, i) => i),
      failed: at % count,
      pending: new Set(pending.filter((i) => i < count && i !== at % count)),
      failedAt,
      now: 1_000,
    }));
  const ascends = (all: readonly number[]) => all.every((n, i) => i === 0 || n > (all[i - 1] ?? 0));

  test("restarts in the order of supervision and stops in the reverse of it, each child once", () => {
    fc.assert(
      fc.property(policies, cases, (policy, failure) => {
        const verdict = decideChildren(policy, failure);
        if (verdict.action === "none") return false;
        if (verdict.action === "give-up") return ascends(verdict.stop.toReversed());
        expect(ascends(verdict.restart)).toBe(true);
        expect(ascends(verdict.stop.toReversed())).toBe(true);
        expect(verdict.restart).toContain(failure.failed);
        // Whoever is stopped is restarted; the failed one has stopped already.
        return verdict.stop.every((i) => i !== failure.failed && verdict.restart.includes(i));
      }),
    );
  });

  test("takes in by strategy: itself, those behind it, all; and whom an earlier plan still owes a restart", () => {
    fc.assert(
      fc.property(policies, cases, (given, failure) => {
        const policy = { ...given, intensity: { failures: 99, withinMs: 1 } };
        const verdict = decideChildren(policy, failure);
        if (verdict.action !== "restart") return false;
        const expected = failure.children.filter((i) => {
          if (i === failure.failed) return true;
          if (policy.strategy === "one-for-one") return false;
          return policy.strategy === "one-for-all" || i > failure.failed || failure.pending.has(i);
        });
        expect(verdict.restart).toEqual(expected);
        return true;
      }),
    );
  });

  test("gives up exactly when more failures than allowed lie inside the window", () => {
    fc.assert(
      fc.property(policies, cases, (policy, failure) => {
        const { failures, withinMs } = policy.intensity;
        const recent = failure.failedAt.filter((at) => at > 1_000 - withinMs).length + 1;
        const { action } = decideChildren(policy, failure);
        return (action === "give-up") === recent > failures;
      }),
    );
  });

  test("does nothing for a child that is no longer one, or whose restart is coming", () => {
    const failure = { children: [1, 2], failed: 3, pending: new Set([2]), failedAt: [], now: 0 };
    expect(decideChildren(DEFAULT_CHILDREN, failure)).toEqual({ action: "none" });
    expect(decideChildren(DEFAULT_CHILDREN, { ...failure, failed: 2 })).toEqual({ action: "none" });
  });
});

describe("a child that gives up (R5)", () => {
  test("one-for-one: is restarted alone, its mail waits for it, its letter says why", async () => {
    await using cluster = await withSquad();
    await tellTo(cluster, "c2").hear({ text: "before" });
    await tellTo(cluster, "c2").fail({ text: "boom" });
    await tellTo(cluster, "c2").hear({ text: "behind" });
    await eventually(async () => (await restarts(cluster, ["c2"]))[0] === 1, { name: "restarted" });
    await quiet(cluster);
    expect(await restarts(cluster)).toEqual([0, 1, 0, 0]);
    expect(cluster.log).toEqual(["c2 stopped", "c2 active"]);
    expect((await tellTo(cluster, "c2").read({})).heard).toEqual(["before", "behind"]);
    expect(await letters(cluster)).toMatchObject([
      { actor: { key: "c2" }, envelope: { type: "fail" }, reason: { message: "boom" } },
    ]);
  });

  test("rest-for-one: takes those behind it along, stopped last first, restarted in order", async () => {
    await using cluster = await withSquad({ strategy: "rest-for-one" });
    await tellTo(cluster, "c2").fail({ text: "boom" });
    await eventually(() => cluster.log.length === 6, { name: "all restarted" });
    await quiet(cluster);
    expect(cluster.log).toEqual([
      "c2 stopped",
      "c4 stopped",
      "c3 stopped",
      "c2 active",
      "c3 active",
      "c4 active",
    ]);
    expect(await restarts(cluster)).toEqual([0, 1, 1, 1]);
  });

  test("one-for-all: takes all along, in OTP's order", async () => {
    await using cluster = await withSquad({ strategy: "one-for-all" });
    await expect(tellTo(cluster, "c2").failAsk({})).rejects.toMatchObject({ code: "actor.failed" });
    await eventually(() => cluster.log.length === 8, { name: "all restarted" });
    expect(cluster.log).toEqual([
      "c2 stopped",
      "c4 stopped",
      "c3 stopped",
      "c1 stopped",
      "c1 active",
      "c2 active",
      "c3 active",
      "c4 active",
    ]);
    expect(await restarts(cluster)).toEqual([1, 1, 1, 1]);
    expect(recordOf(cluster, ref("squad", "s")).family?.plan).toBeUndefined();
    await eventually(() => cluster.broker.schedules.size === 0, { name: "no reminder is left" });
  });

  test("with a poison message gives up only if its policy says so", async () => {
    const supervision = { on: { default: "restart" }, maxAttempts: 2 } as const;
    await using calm = await withSquad({}, { supervision });
    await tellTo(calm, "c1").fail({ text: "boom" });
    await eventually(async () => (await letters(calm)).length === 1, { name: "buried" });
    await quiet(calm);
    expect(await restarts(calm)).toEqual([0, 0, 0, 0]);
    await using strict = await withSquad(
      {},
      { supervision: { ...supervision, poison: "give-up" } },
    );
    await tellTo(strict, "c1").fail({ text: "boom" });
    await eventually(async () => (await restarts(strict, ["c1"]))[0] === 1, { name: "restarted" });
    expect(await letters(strict)).toMatchObject([{ attempts: 2 }]);
  });

  test("that resets begins anew", async () => {
    await using cluster = await withSquad({}, { restart: "reset" });
    await tellTo(cluster, "c1").hear({ text: "forgotten" });
    await tellTo(cluster, "c1").fail({ text: "boom" });
    await tellTo(cluster, "c1").hear({ text: "kept in the mailbox" });
    await eventually(
      async () =>
        expect(await tellTo(cluster, "c1").read({})).toEqual({
          heard: ["kept in the mailbox"],
          restarts: 1,
        }),
      { name: "begun anew" },
    );
  });

  test("and whose restart fails has failed again: the parent tries as often as its intensity allows", async () => {
    let tries = 0;
    const isBroken = (key: string) => {
      if (key !== "c1" || tries >= 2) return false;
      tries += 1;
      return true;
    };
    await using cluster = await withSquad({}, { isBroken });
    await tellTo(cluster, "c1").fail({ text: "boom" });
    await eventually(async () => (await restarts(cluster, ["c1"]))[0] === 1, { name: "restarted" });
    expect(tries).toBe(2);
    expect(recordOf(cluster, ref("squad", "s")).family?.failedAt).toHaveLength(3);
    const system = (await letters(cluster)).filter(({ lane }) => lane === "system");
    expect(system).toHaveLength(2);
  });

  test("is not restarted by a parent that has let it go", async () => {
    await using cluster = await withSquad();
    await cluster.client.actor(Squad, "acme", "s").fire({ key: "c1" });
    await eventually(() => recordOf(cluster, ref("member", "c1")).family === undefined, {
      name: "released",
    });
    await tellTo(cluster, "c1").fail({ text: "boom" });
    await eventually(() => cluster.log.includes("c1 stopped"), { name: "stopped" });
    await quiet(cluster);
    expect(cluster.log).toEqual(["c1 stopped"]);
    expect(recordOf(cluster, ref("member", "c1")).standing?.until).toBeTypeOf("number");
    expect(await cluster.client.actor(Squad, "acme", "s").children({})).toEqual({
      keys: ["c2", "c3", "c4"],
    });
  });

  test("has one parent: the last, and the one before forgets it", async () => {
    await using cluster = await withSquad();
    await cluster.client.actor(Squad, "acme", "t").hire({ keys: ["c1"] });
    const children = async (key: string) =>
      (await cluster.client.actor(Squad, "acme", key).children({})).keys;
    await eventually(async () => (await children("s")).length === 3, { name: "s forgets it" });
    await tellTo(cluster, "c1").fail({ text: "boom" });
    await eventually(async () => (await restarts(cluster, ["c1"]))[0] === 1, { name: "restarted" });
    expect(recordOf(cluster, ref("squad", "t")).family?.failedAt).toHaveLength(1);
    expect(recordOf(cluster, ref("squad", "s")).family?.failedAt).toHaveLength(0);
  });
});

describe("what passes between parent and child", () => {
  /** Mail as an actor's, but without the number by which a second copy of it is known. */
  const send = async (
    cluster: Cluster,
    to: ActorRef,
    mail: { readonly type: string; readonly payload: object; readonly from: ActorRef },
  ) => {
    await cluster.transport.mailboxes.send(to, "system", {
      id: `${mail.type}:${Math.random()}`,
      sentAt: 0,
      ...mail,
    });
    await quiet(cluster);
  };
  const generations = (cluster: Cluster) =>
    recordOf(cluster, ref("squad", "s")).family!.children.map(({ generation }) => generation);

  test("a failure of before the last order is old: it restarts nobody and counts no more (Y1)", async () => {
    await using cluster = await withSquad();
    const [adopted = 0] = generations(cluster);
    await tellTo(cluster, "c1").fail({ text: "boom" });
    await eventually(async () => (await restarts(cluster, ["c1"]))[0] === 1, { name: "restarted" });
    await quiet(cluster);
    const failure = { code: "actor.failed", message: "boom", generation: adopted };
    const old = { type: "$failed", payload: failure, from: ref("member", "c1") };
    await send(cluster, ref("squad", "s"), old);
    expect(await restarts(cluster, ["c1"])).toEqual([1]);
    expect(recordOf(cluster, ref("squad", "s")).family?.failedAt).toHaveLength(1);
  });

  test("an order is obeyed once, whatever comes of it again, and acknowledged each time (Y1, R3)", async () => {
    await using cluster = await withSquad();
    const [generation = 0] = generations(cluster);
    const payload = { generation: generation + 100, acknowledge: true };
    const order = { type: "$restart", payload, from: ref("squad", "s") };
    const { nth } = recordOf(cluster, ref("member", "c1"));
    await send(cluster, ref("member", "c1"), order);
    await send(cluster, ref("member", "c1"), order);
    expect(await restarts(cluster, ["c1"])).toEqual([1]);
    expect(recordOf(cluster, ref("member", "c1")).nth).toBe(nth + 2);
  });

  test("an order of an actor that is not the parent is dropped", async () => {
    await using cluster = await withSquad();
    const stop = { code: "x", message: "y", generation: 99 };
    await send(cluster, ref("member", "c1"), {
      type: "$stop",
      payload: stop,
      from: ref("squad", "stranger"),
    });
    expect((await tellTo(cluster, "c1").read({})).restarts).toBe(0);
    expect(await letters(cluster)).toEqual([]);
  });

  test("a parent that was stopped has stopped its children first, and restarts none of them", async () => {
    await using cluster = await withSquad();
    const parts = { transport: cluster.transport, clock: systemClock };
    await sendSystem(parts, ref("squad", "s"), {
      type: "$stop",
      code: "human.needed",
      message: "no",
    });
    await eventually(() => cluster.log.length === 5, { name: "all are stopped" });
    const order = ["c4", "c3", "c2", "c1", "s"];
    expect(cluster.log).toEqual(order.map((key) => `${key} stopped`));
    const failure = { code: "actor.failed", message: "boom", generation: 1_000 };
    await send(cluster, ref("squad", "s"), {
      type: "$failed",
      payload: failure,
      from: ref("member", "c2"),
    });
    expect(recordOf(cluster, ref("member", "c2")).standing?.state).toBe("stopped");
    expect(recordOf(cluster, ref("squad", "s")).family?.failedAt).toEqual([]);
  });
});

describe("a child that does not obey in time (R5)", () => {
  test("does not keep the others waiting", async () => {
    await using cluster = await withSquad({ strategy: "one-for-all", stopMs: 1_100 });
    const handle = cluster.client.actor(Squad, "acme", "s");
    await handle.haunt({ key: "g" });
    await eventually(async () => (await handle.children({})).keys.length === 5, {
      name: "haunted",
    });
    await tellTo(cluster, "c1").fail({ text: "boom" });
    await eventually(async () => (await restarts(cluster, ["c3"]))[0] === 1, {
      name: "c3 is back",
    });
    expect(await restarts(cluster, ["c1", "c2", "c3"])).toEqual([1, 1, 1]);
  });
});

describe("children that fail too often (R5)", () => {
  const MANY = { intensity: { failures: 1, withinMs: 60_000 } };

  test("stop all, last first, then their parent; its letter names the reason", async () => {
    await using cluster = await withSquad(MANY);
    await tellTo(cluster, "c2").fail({ text: "one" });
    await eventually(async () => (await restarts(cluster, ["c2"]))[0] === 1, { name: "restarted" });
    cluster.log.length = 0;
    await tellTo(cluster, "c3").fail({ text: "two" });
    await eventually(() => cluster.log.includes("s stopped"), { name: "the parent gave up" });
    await quiet(cluster);
    expect(cluster.log).toEqual([
      "c3 stopped",
      "c4 stopped",
      "c2 stopped",
      "c1 stopped",
      "s stopped",
    ]);
    const found = await letters(cluster);
    expect(found.filter(({ actor }) => actor.kind === "squad")).toMatchObject([
      { reason: { code: "actor.children_failed" }, envelope: { type: "$failed" } },
    ]);
    await expect(tellTo(cluster, "c1").read({})).rejects.toMatchObject({ code: "actor.stopped" });
    await expect(cluster.client.actor(Squad, "acme", "s").children({})).rejects.toMatchObject({
      code: "actor.stopped",
    });
  });

  test("come back in order when an operator restarts their parent, mail and all", async () => {
    await using cluster = await withSquad({ intensity: { failures: 0, withinMs: 1 } });
    await tellTo(cluster, "c2").fail({ text: "one" });
    await eventually(() => cluster.log.includes("s stopped"), { name: "the parent gave up" });
    await tellTo(cluster, "c1").hear({ text: "patient" });
    cluster.log.length = 0;
    const parts = { transport: cluster.transport, clock: systemClock };
    await sendSystem(parts, ref("squad", "s"), { type: "$restart" });
    await eventually(() => cluster.log.length === 5, { name: "all are back" });
    expect(cluster.log).toEqual(["s active", "c1 active", "c2 active", "c3 active", "c4 active"]);
    await eventually(
      async () => expect((await tellTo(cluster, "c1").read({})).heard).toEqual(["patient"]),
      { name: "its mail" },
    );
  });

  test("escalate to the parent's parent, which restarts it and so all of them", async () => {
    await using cluster = await withSquad({ intensity: { failures: 1, withinMs: 60_000 } });
    await cluster.client.actor(Squad, "acme", "top").lead({ key: "s" });
    await eventually(() => recordOf(cluster, ref("squad", "s")).family?.parent !== undefined, {
      name: "adopted",
    });
    for (const key of ["c1", "c4"]) await tellTo(cluster, key).fail({ text: "boom" });
    await eventually(async () => expect(await restarts(cluster, ["c2", "c3"])).toEqual([1, 1]), {
      name: "restarted from the top",
    });
    await quiet(cluster);
    expect(recordOf(cluster, ref("squad", "top")).family?.failedAt).toHaveLength(1);
    expect((await letters(cluster)).filter(({ actor }) => actor.kind === "squad")).toEqual([]);
    expect(recordOf(cluster, ref("squad", "s"))).not.toHaveProperty("standing");
  });
});
