/** R2 and R3 over crashes: what a recovery sends again, what it leaves out, and what a receiver makes of it. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { actorClient } from "../../../runtime/actor-client.ts";
import {
  type Checkpoint,
  checkpointOf,
  isSent,
  NO_CHECKPOINT,
  settled,
} from "../../../runtime/checkpoint.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { MemoryBroker } from "../../../runtime/memory/broker.ts";
import { connectMemory } from "../../../runtime/memory/transport.ts";
import { addHeard, type Hearing, lastHeard, noSenders } from "../../../runtime/senders.ts";
import type { Step } from "../../../runtime/steps.ts";
import type { Transport } from "../../../runtime/transport.ts";
import { Watermark } from "../../../runtime/watermark.ts";
import { Probe, probe, probeTools } from "../../support/actors.ts";
import { eventually } from "../../support/eventually.ts";
import { partitionHost } from "../../support/host.ts";

const definitions = [probe()];

describe("a watermark (W1)", () => {
  /** Commits of a few actors, as the broker numbers them and as their answers come back, in any order. */
  const step = fc.record({
    actor: fc.constantFrom("a", "b", "c", "d"),
    act: fc.constantFrom("begin", "store", "answer", "send"),
  });

  test("never stands at or above a commit whose outbox is not sent, whatever overtakes what", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const mark = new Watermark(0);
        const phase = new Map<string, { is: string; revision: number }>();
        let last = 0;
        for (const { actor, act } of steps) {
          const now = phase.get(actor) ?? { is: "idle", revision: 0 };
          if (act === "begin" && now.is === "idle") {
            mark.begun(actor);
            phase.set(actor, { is: "begun", revision: 0 });
          } else if (act === "store" && now.is === "begun") {
            last += 1;
            phase.set(actor, { is: "stored", revision: last });
          } else if (act === "answer" && now.is === "stored") {
            mark.stored(actor, now.revision, { outbox: true, effects: false });
            phase.set(actor, { ...now, is: "answered" });
          } else if (act === "send" && now.is === "answered") {
            mark.sent(actor);
            phase.set(actor, { is: "idle", revision: 0 });
          }
          const unsent = [...phase.values()].filter(({ revision }) => revision > 0);
          for (const { revision } of unsent) expect(mark.upTo).toBeLessThan(revision);
          expect(mark.upTo).toBeLessThanOrEqual(last);
        }
      }),
    );
  });

  test("names what runs at or below it (W2), and forgets it with the commit that ends it", () => {
    const mark = new Watermark(10);
    mark.begun("a");
    expect(mark.upTo).toBe(10);
    mark.stored("a", 12, { outbox: false, effects: true });
    expect(mark.upTo).toBe(12);
    expect(mark.running).toEqual([["a", 12]]);
    mark.stored("a", 13, { outbox: false, effects: false });
    expect(mark.running).toEqual([]);
  });

  test("follows a broker that has lost its last writes", () => {
    const mark = new Watermark(100);
    mark.begun("a");
    mark.begun("b");
    mark.stored("a", 50, { outbox: true, effects: false });
    expect(mark.upTo).toBeLessThan(50);
    mark.stored("b", 51, { outbox: true, effects: false });
    mark.sent("a");
    expect(mark.upTo).toBeLessThan(51);
    mark.sent("b");
    expect(mark.upTo).toBe(51);
  });
});

describe("a checkpoint", () => {
  const idle = { upTo: 0, running: [] };

  test("calls sent only what its row claims: not what a late owner wrote, not what is newer", () => {
    const first = checkpointOf(NO_CHECKPOINT, {
      epoch: 3,
      records: { upTo: 50, running: [] },
      journal: idle,
      isRecovered: true,
    });
    const second = checkpointOf(first, {
      epoch: 5,
      records: { upTo: 90, running: [] },
      journal: idle,
      isRecovered: true,
    });
    const of = (epoch: number, revision: number) =>
      isSent(second, { epoch, revision, journaled: false });
    expect(of(3, 50)).toBe(true);
    expect(of(3, 51)).toBe(false); // Written by the older owner after it was last heard of.
    expect(of(5, 90)).toBe(true);
    expect(of(5, 91)).toBe(false);
    expect(of(6, 1)).toBe(false);
    expect(isSent(second, { epoch: 5, revision: 1, journaled: true })).toBe(false);
    const looked = settled(second, 5, { records: 70, journal: 0 });
    expect(isSent(looked, { epoch: 3, revision: 60, journaled: false })).toBe(true);
    expect(isSent(looked, { epoch: 3, revision: 71, journaled: false })).toBe(false);
  });

  test("begins further back when more runs than it names, and while its owner has not recovered", () => {
    const running = Array.from({ length: 600 }, (_, n) => [`t/k/${n}`, n + 1] as const);
    const own = { epoch: 2, records: { upTo: 700, running }, journal: idle };
    const full = checkpointOf(NO_CHECKPOINT, { ...own, isRecovered: true });
    expect(full.running).toHaveLength(500);
    expect(full.from.records).toBe(500);
    const before = { ...NO_CHECKPOINT, from: { records: 7, journal: 7 }, running: ["t/k/old"] };
    const early = checkpointOf(before, { ...own, isRecovered: false });
    expect(early.from).toEqual({ records: 7, journal: 7 });
    expect(early.running).toContain("t/k/old");
  });

  test("stays small and claims less when owners follow one another too fast", () => {
    let checkpoint = NO_CHECKPOINT;
    for (let epoch = 1; epoch <= 100; epoch += 1) {
      const records = { upTo: epoch * 10, running: [] };
      checkpoint = checkpointOf(checkpoint, { epoch, records, journal: idle, isRecovered: false });
    }
    expect(checkpoint.sent.length).toBeLessThanOrEqual(32);
    expect(isSent(checkpoint, { epoch: 1, revision: 10, journaled: false })).toBe(true);
    expect(isSent(checkpoint, { epoch: 50, revision: 500, journaled: false })).toBe(false);
  });
});

describe("the memory of senders", () => {
  const hearing = (n: number, nth = 1): Hearing => ({
    from: { tenant: "acme", kind: "probe", key: `s${n}` },
    lane: "user",
    nth,
    sentAt: 1_000 + n,
  });
  const at = { now: 5_000, activeForMs: 1_000 };

  test("keeps 1,024 senders however busy, is bounded, and knows what it has forgotten (R3, R7)", () => {
    let senders = noSenders();
    for (let n = 0; n < 5_000; n += 1) {
      senders = addHeard(senders, [hearing(n, n + 1)], at);
      const known = Math.max(0, n - 1_000);
      expect(lastHeard(senders, hearing(known))).toBe(known + 1);
    }
    expect(senders.young.count + senders.old.count).toBeLessThanOrEqual(2_048);
    for (let n = 0; n < 5_000; n += 1) {
      const isKnown = lastHeard(senders, hearing(n)) > 0;
      expect(isKnown || hearing(n).sentAt <= senders.forgotten).toBe(true);
    }
  });

  test("lets go of those not heard for two minutes of activity, not for a night in which it was off", () => {
    let senders = addHeard(noSenders(), [hearing(1)], { now: 1_000, activeForMs: 1_000 });
    const night = 12 * 3_600_000;
    senders = addHeard(senders, [hearing(2)], { now: night, activeForMs: 5_000 });
    expect(lastHeard(senders, hearing(1))).toBe(1);
    for (const minutes of [2, 4]) {
      const ms = minutes * 60_000;
      senders = addHeard(senders, [hearing(3)], { now: night + ms, activeForMs: ms });
    }
    expect(lastHeard(senders, hearing(1))).toBe(0);
    expect(senders.forgotten).toBeGreaterThanOrEqual(hearing(1).sentAt);
  });
});

/** A deployment whose broker forgets the ids of what was handled, as nats-server does when it starts again. */
function deployment() {
  const broker = new MemoryBroker({ clock: systemClock, partitions: 1 });
  const wrapped = (): Transport & { sends: string[] } => {
    const transport = connectMemory(broker);
    const sends: string[] = [];
    return {
      ...transport,
      sends,
      mailboxes: {
        ...transport.mailboxes,
        send(ref, lane, envelope) {
          sends.push(envelope.id);
          return transport.mailboxes.send(ref, lane, envelope);
        },
      },
    };
  };
  return { broker, connect: wrapped };
}

const SENDERS = 300;

describe("a full power-off", () => {
  test.each<Step>(["committed", "published"])(
    "of many senders to one receiver, each %s, doubles no message and loses none (R2, R3)",
    async (step) => {
      const { broker, connect } = deployment();
      let stood = 0;
      const host = partitionHost({
        transport: connect(),
        definitions,
        epoch: 1,
        onStep(at, { key }) {
          if (at !== step || !key.startsWith("s")) return undefined;
          stood += 1;
          return stood > SENDERS / 2 ? new Promise(() => {}) : undefined;
        },
      });
      await host.open();
      const client = actorClient({ transport: connectMemory(broker), clock: systemClock });
      await Promise.all(
        Array.from({ length: SENDERS }, (_, n) =>
          client.actor(Probe, "acme", `s${n}`).relay({ to: "target", texts: [`${n}`] }),
        ),
      );
      await eventually(() => stood === SENDERS, { name: "all senders stand still or are done" });
      await host.close();
      broker.forgetIds();

      const heir = partitionHost({ transport: connect(), definitions, epoch: 2 });
      await heir.open();
      const heard = async () => (await client.actor(Probe, "acme", "target").read({})).heard;
      await eventually(async () => (await heard()).length >= SENDERS, { name: "all are heard" });
      await eventually(() => broker.mail.every((mail) => mail.length === 0), { name: "acked" });
      const texts = (await heard()).toSorted((a, b) => Number(a) - Number(b));
      expect(texts).toEqual(Array.from({ length: SENDERS }, (_, n) => `${n}`));
      expect(broker.deadLetters).toEqual([]);
      await heir.close();
    },
  );

  test("long after an actor's last turn sends nothing again, nor loads it (V1)", async () => {
    const { broker, connect } = deployment();
    const host = partitionHost({ transport: connect(), definitions, epoch: 1 });
    await host.open();
    const client = actorClient({ transport: connectMemory(broker), clock: systemClock });
    await client.actor(Probe, "acme", "sender").relay({ to: "target", texts: ["1", "2"] });
    await eventually(async () => {
      const target = await client.actor(Probe, "acme", "target").read({});
      return target.heard.length === 2;
    });
    const { revision } = broker.pages.get("record:acme/probe/sender")!.at(-1)!;
    const from = () => {
      const text = new TextDecoder().decode(broker.bucket("checkpoints").get("0")?.value);
      return text === "" ? 0 : (JSON.parse(text) as Checkpoint).from.records;
    };
    await eventually(() => from() >= revision, { name: "a checkpoint after it" });
    await host.close();
    broker.forgetIds();

    const transport = connect();
    const heir = partitionHost({ transport, definitions, epoch: 2 });
    await heir.open();
    expect(await client.actor(Probe, "acme", "probe").add({ n: 1 })).toEqual({ total: 1 });
    expect([...heir.activations].map((activation) => activation.ref.key)).toEqual(["probe"]);
    await client.actor(Probe, "acme", "sender").hear({ text: "wakes it" });
    const sender = async () => (await client.actor(Probe, "acme", "sender").read({})).heard;
    await eventually(async () => (await sender()).length === 2, { name: "it is awake" });
    expect(transport.sends).toEqual([]);
    await heir.close();
  });

  test("under a checkpoint that is older than the work sends it again, and nobody is harmed (V2)", async () => {
    const { broker, connect } = deployment();
    const frozen = connect();
    let puts = 0;
    const buckets: Transport["buckets"] = {
      ...frozen.buckets,
      put(bucket, key, value, options) {
        puts += 1;
        // The first checkpoint is written, none after it.
        if (bucket === "checkpoints" && puts > 1) return Promise.reject(new Error("away"));
        return frozen.buckets.put(bucket, key, value, options);
      },
    };
    const host = partitionHost({ transport: { ...frozen, buckets }, definitions, epoch: 1 });
    await host.open();
    const client = actorClient({ transport: connectMemory(broker), clock: systemClock });
    await client.actor(Probe, "acme", "early").add({ n: 1 });
    await eventually(() => puts > 0, { name: "the only checkpoint" });
    await client.actor(Probe, "acme", "sender").relay({ to: "target", texts: ["1", "2"] });
    const heard = async () => (await client.actor(Probe, "acme", "target").read({})).heard;
    await eventually(async () => (await heard()).length === 2, { name: "both are heard" });
    await host.close();
    broker.forgetIds();

    const transport = connect();
    const heir = partitionHost({ transport, definitions, epoch: 2 });
    await heir.open();
    await eventually(() => transport.sends.length === 2, { name: "both are sent again" });
    await eventually(() => broker.mail.every((mail) => mail.length === 0), { name: "acked" });
    expect(await heard()).toEqual(["1", "2"]);
    await heir.close();
  });

  test("makes a dead letter of what a receiver may have forgotten, instead of handling it twice (R2, R3)", async () => {
    const { broker, connect } = deployment();
    const transport = connect();
    const host = partitionHost({ transport, definitions, epoch: 1 });
    await host.open();
    const to = { kind: "probe", tenant: "acme", key: "target" };
    const send = (from: string, sentAt: number, again: boolean) =>
      transport.mailboxes.send(to, "user", {
        id: `${from}:${again}`,
        type: "hear",
        payload: { text: from },
        from: { kind: "probe", tenant: "acme", key: from },
        nth: 1,
        sentAt,
        ...(again ? { again } : {}),
      });
    const client = actorClient({ transport: connectMemory(broker), clock: systemClock });
    const heard = async () => (await client.actor(Probe, "acme", "target").read({})).heard;
    for (let n = 0; n < 2_100; n += 1) await send(`s${n}`, 1_000 + n, false);
    await eventually(async () => (await heard()).length === 2_100, { name: "all are heard" });
    await send("s0", 1_000, true);
    await eventually(() => broker.deadLetters.length === 1, { name: "the letter" });
    expect(broker.deadLetters[0]).toMatchObject({ reason: { code: "actor.doubtful" } });
    await send("s2099", 3_099, true);
    await send("new", 999_999, true);
    await eventually(async () => (await heard()).includes("new"), { name: "the new one" });
    expect((await heard()).filter((text) => text === "s2099")).toHaveLength(1);
    expect(await heard()).toHaveLength(2_101);
    expect(broker.deadLetters).toHaveLength(1);
    await host.close();
  });
});

describe("a tool that runs when its node dies", () => {
  test("is run again by the next owner though its commit is older than the checkpoint (R2, W2)", async () => {
    const { broker, connect } = deployment();
    const never = { ...probeTools(), "test.double": () => new Promise<never>(() => {}) };
    const host = partitionHost({ transport: connect(), definitions, epoch: 1, tools: never });
    await host.open();
    const client = actorClient({ transport: connectMemory(broker), clock: systemClock });
    await client.actor(Probe, "acme", "a").run({ n: 21 });
    const checkpoint = () => new TextDecoder().decode(broker.bucket("checkpoints").get("0")?.value);
    await eventually(() => checkpoint().includes("acme/probe/a"), { name: "it is named" });
    await host.close();
    const tools = probeTools();
    const heir = partitionHost({ transport: connect(), definitions, epoch: 2, tools });
    await heir.open();
    const results = async () => (await client.actor(Probe, "acme", "a").read({})).results;
    await eventually(async () => (await results()).length === 1, { name: "the result" });
    expect(await results()).toEqual(["42"]);
    await heir.close();
  });
});
