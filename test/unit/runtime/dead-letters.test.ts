/** R2, R3 and R5: messages that were given up, and what their replay does to their actor. */
import { describe, expect, test } from "vitest";
import type { Envelope } from "../../../protocols/envelope.ts";
import { BerthError } from "../../../protocols/errors.ts";
import type { DeadLetter } from "../../../protocols/records.ts";
import { takesLetter } from "../../../runtime/dead-letters.ts";
import { deadLettersOf, type LetterStore } from "../../../runtime/letter-replay.ts";
import { DEFAULT_SUPERVISION } from "../../../runtime/supervision.ts";
import { Probe, probe, probeTools } from "../../support/actors.ts";
import { type Cluster, startCluster } from "../../support/cluster.ts";
import { eventually } from "../../support/eventually.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const a = (cluster: Cluster) => cluster.client.actor(Probe, "acme", "a");
const letters = async (cluster: Cluster) =>
  (await cluster.transport.deadLetters.list({ limit: 50 })).letters;
const one = (cluster: Cluster) =>
  eventually(async () => (await letters(cluster))[0] ?? false, { name: "a letter" });

/** A cluster whose probes refuse poison for as long as `poisonous` holds. */
async function withProbe() {
  const cure = { isCured: false };
  const cluster = await startCluster({
    definitions: [
      probe({
        supervision: {
          ...DEFAULT_SUPERVISION,
          maxAttempts: 2,
          backoff: { initialMs: 1, maxMs: 2 },
        },
        bearsPoison: () => cure.isCured,
      }),
    ],
    tools: probeTools(),
  });
  return Object.assign(cluster, { cure: () => Object.assign(cure, { isCured: true }) });
}

const heard = (cluster: Cluster, expected: readonly string[]) =>
  eventually(async () => expect((await a(cluster).read({})).heard).toEqual(expected), {
    name: `it has heard ${expected.join(", ")}`,
  });

describe("a letter", () => {
  test("says reason, epoch, attempts and time, and is replayed in full (R5)", async () => {
    await using cluster = await withProbe();
    await a(cluster).hear({ text: "poison" });
    const letter = await one(cluster);
    expect(letter).toMatchObject({
      actor: { kind: "probe", tenant: "acme", key: "a" },
      reason: { code: "actor.failed", message: "cannot bear poison" },
      attempts: 2,
    });
    expect(letter.epoch).toBeGreaterThan(0);
    expect(Date.now() - letter.at).toBeLessThan(60_000);
    cluster.cure();
    await cluster.transport.deadLetters.replay(letter.id);
    await heard(cluster, ["poison"]);
    expect(await letters(cluster)).toEqual([]);
  });

  test("of an actor's tell is handled although its number was heard, and once (R3)", async () => {
    await using cluster = await withProbe();
    await cluster.client.actor(Probe, "acme", "sender").relay({ to: "a", texts: ["poison", "x"] });
    const letter = await one(cluster);
    expect(letter.envelope).toMatchObject({ from: { key: "sender" }, nth: 1 });
    cluster.cure();
    await cluster.transport.deadLetters.replay(letter.id);
    await heard(cluster, ["x", "poison"]);
  });

  test("of a tool's result is handled although its effect has ended", async () => {
    let isBroken = true;
    await using cluster = await startCluster({
      definitions: [probe({ supervision: { ...DEFAULT_SUPERVISION, maxAttempts: 1 } })],
      tools: { "test.double": () => Promise.resolve({ twice: isBroken ? "no number" : 4 }) },
    });
    await a(cluster).run({ n: 2 });
    const letter = await one(cluster);
    isBroken = false;
    expect(letter.envelope).toMatchObject({ type: "ran", effect: expect.any(String) });
    await cluster.transport.deadLetters.replay(letter.id);
    const again = await eventually(
      async () => (await letters(cluster)).find(({ id }) => id !== letter.id) ?? false,
      { name: "it was handled: the same payload fails in the same way" },
    );
    expect(again).toMatchObject({ reason: { code: "request.invalid" }, envelope: { type: "ran" } });
  });

  test("of a reminder is replayed as its message (R6)", async () => {
    await using cluster = await withProbe();
    await a(cluster).remind({ name: "soon", text: "poison", afterMs: 1 });
    const letter = await one(cluster);
    expect(letter).toMatchObject({ lane: "user", envelope: { name: "soon", type: "alarm" } });
    cluster.cure();
    await cluster.transport.deadLetters.replay(letter.id);
    await eventually(async () => (await a(cluster).read({})).alarms.length === 1, {
      name: "the alarm",
    });
    expect((await a(cluster).read({})).alarms).toEqual(["poison"]);
  });

  test("that fails again is a new letter, and can be replayed again", async () => {
    await using cluster = await withProbe();
    await a(cluster).hear({ text: "poison" });
    const first = await one(cluster);
    await cluster.transport.deadLetters.replay(first.id);
    const second = await eventually(
      async () => (await letters(cluster)).find(({ id }) => id !== first.id) ?? false,
      { name: "a new letter" },
    );
    cluster.cure();
    expect(await cluster.transport.deadLetters.replayAll({ kind: "probe" })).toEqual({
      replayed: 1,
      failed: [],
    });
    await heard(cluster, ["poison"]);
    await expect(cluster.transport.deadLetters.replay(second.id)).rejects.toMatchObject({
      code: "request.not_found",
    });
  });
});

describe("a replay that is cut short", () => {
  /** Takes no letter away, and has no memory for ids: as a crash after the send, and a second try days later. */
  function forgetful(cluster: Cluster) {
    const { broker, transport } = cluster;
    let sent = 0;
    const store: LetterStore = {
      list: (query) => transport.deadLetters.list(query),
      get(id) {
        const found = broker.letters.find(({ seq }) => `dl-${seq}` === id);
        return Promise.resolve(found && { letter: found.letter, written: found.letter.id });
      },
      remove: () => Promise.reject(new BerthError("broker.unavailable")),
      purge: () => Promise.resolve(0),
    };
    return deadLettersOf(store, {
      clock: broker.clock,
      buckets: transport.buckets,
      mailboxes: {
        send(ref, lane, envelope) {
          sent += 1;
          return transport.mailboxes.send(ref, lane, { ...envelope, id: `${envelope.id}#${sent}` });
        },
      },
    });
  }

  test("loses nothing, and tried again doubles nothing, however late (D1, D2, R2, R3)", async () => {
    await using cluster = await withProbe();
    await a(cluster).hear({ text: "poison" });
    const letter = await one(cluster);
    cluster.cure();
    const desk = forgetful(cluster);
    await expect(desk.replay(letter.id)).rejects.toMatchObject({ code: "broker.unavailable" });
    expect(await letters(cluster)).toHaveLength(1);
    await heard(cluster, ["poison"]);
    await expect(desk.replay(letter.id)).rejects.toMatchObject({ code: "broker.unavailable" });
    await cluster.transport.deadLetters.replay(letter.id);
    await a(cluster).hear({ text: "last" });
    await heard(cluster, ["poison", "last"]);
    await eventually(() => cluster.broker.mail.flat().length === 0, { name: "all is acked" });
    expect(await letters(cluster)).toEqual([]);
  });

  test("and whose two copies wait together is handled once (D2)", async () => {
    await using cluster = await withProbe();
    await a(cluster).hear({ text: "poison" });
    const letter = await one(cluster);
    await a(cluster).park({ code: "human.needed", message: "?" });
    cluster.cure();
    const desk = forgetful(cluster);
    for (let n = 0; n < 2; n += 1) await desk.replay(letter.id).catch(() => undefined);
    await eventually(() => cluster.broker.mail.flat().length === 2, { name: "both wait" });
    await a(cluster).unpark({});
    await heard(cluster, ["parked", "unparked from human.needed", "poison"]);
    await eventually(() => cluster.broker.mail.flat().length === 0, { name: "all is acked" });
  });

  test("says of the second try, and of it alone, that it may have been stored before (D2)", async () => {
    const sent: Envelope[] = [];
    const values = new Set<string>();
    const letter: DeadLetter = {
      id: "mail-7",
      actor: { kind: "probe", tenant: "acme", key: "a" },
      lane: "user",
      envelope: { id: "m", type: "hear", payload: {}, nth: 3, again: true, deadline: 1, sentAt: 1 },
      reason: { code: "actor.failed", message: "why" },
      epoch: 1,
      attempts: 1,
      at: 1,
    };
    const clock = new ManualClock();
    const firstAt = clock.now();
    let value: Uint8Array = new Uint8Array();
    const desk = deadLettersOf(
      {
        list: () => Promise.resolve({ letters: [letter], next: null }),
        get: () => Promise.resolve({ letter, written: letter.id }),
        remove: () => Promise.resolve(true),
        purge: () => Promise.resolve(0),
      },
      {
        clock,
        buckets: {
          get: (_, key) => Promise.resolve({ key, revision: 1, value }),
          put(_, key, given) {
            if (values.has(key)) return Promise.reject(new BerthError("record.conflict"));
            values.add(key);
            value = given;
            return Promise.resolve(1);
          },
        },
        mailboxes: {
          send(_, __, envelope) {
            sent.push(envelope);
            return Promise.resolve(1);
          },
        },
      },
    );
    await desk.replay("dl-1");
    await clock.advance(86_400_000);
    await desk.replay("dl-1");
    const common = { id: "replay:mail-7", letter: "mail-7", type: "hear", sentAt: firstAt };
    expect(sent).toEqual([
      { ...common, payload: {} },
      { ...common, payload: {}, again: true },
    ]);
  });
});

describe("a replay of many", () => {
  test("goes on behind a letter that cannot be sent, and tells which", async () => {
    await using cluster = await withProbe();
    const { deadLetters, mailboxes } = cluster.transport;
    const to = (key: string) => ({ kind: "probe", tenant: "acme", key });
    const letter = (key: string, id: string) => ({
      id,
      actor: to(key),
      lane: "user" as const,
      envelope: { id, type: "hear", payload: { text: id }, sentAt: 1 },
      reason: { code: "actor.failed", message: "why" },
      epoch: 1,
      attempts: 1,
      at: 1,
    });
    for (const [key, id] of [
      ["a", "1"],
      ["full", "2"],
      ["a", "3"],
    ] as const) {
      await mailboxes.deadLetter(letter(key, id));
    }
    const send = mailboxes.send.bind(mailboxes);
    mailboxes.send = (ref, lane, envelope) =>
      ref.key === "full"
        ? Promise.reject(new BerthError("actor.mailbox_full"))
        : send(ref, lane, envelope);
    const outcome = await deadLetters.replayAll({ tenant: "acme" });
    expect(outcome).toMatchObject({ replayed: 2, failed: [{ code: "actor.mailbox_full" }] });
    expect((await letters(cluster)).map(({ actor }) => actor.key)).toEqual(["full"]);
    await heard(cluster, ["1", "3"]);
  });
});

describe("a filter", () => {
  test("takes a letter that fits every field that it names", () => {
    const letter = {
      actor: { kind: "probe", tenant: "acme", key: "a" },
      reason: { code: "actor.failed", message: "" },
    } as DeadLetter;
    expect(takesLetter({}, letter)).toBe(true);
    expect(
      takesLetter({ tenant: "acme", kind: "probe", key: "a", code: "actor.failed" }, letter),
    ).toBe(true);
    for (const other of [{ tenant: "b" }, { kind: "b" }, { key: "b" }, { code: "b" }]) {
      expect(takesLetter(other, letter)).toBe(false);
    }
  });
});
