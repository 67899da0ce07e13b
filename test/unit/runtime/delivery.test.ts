/** R3 and R4: each message once, and each sender's in the order sent. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { ask, protocol, tell } from "../../../protocols/protocol.ts";
import { actor } from "../../../runtime/actor.ts";
import { actorClient } from "../../../runtime/actor-client.ts";
import { BodyBudget } from "../../../runtime/body-budget.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { Inbox, type Item } from "../../../runtime/inbox.ts";
import { MemoryBroker } from "../../../runtime/memory/broker.ts";
import { connectMemory } from "../../../runtime/memory/transport.ts";
import { decodeRecord } from "../../../runtime/record.ts";
import { DEFAULT_SUPERVISION } from "../../../runtime/supervision.ts";
import type { Mail } from "../../../runtime/transport.ts";
import { Probe, probe } from "../../support/actors.ts";
import { startCluster } from "../../support/cluster.ts";
import { eventually } from "../../support/eventually.ts";
import { partitionHost } from "../../support/host.ts";

describe("a message", () => {
  test("delivered again after it was handled is dropped, not handled twice (R3)", async () => {
    const broker = new MemoryBroker({ clock: systemClock, partitions: 1 });
    const transport = connectMemory(broker);
    const host = partitionHost({ transport, definitions: [probe()], epoch: 1 });
    await host.open();
    const handle = actorClient({ transport, clock: systemClock }).actor(Probe, "acme", "a");
    await handle.hear({ text: "once" });
    await eventually(async () => (await handle.read({})).heard.length === 1, { name: "heard" });
    const ref = { kind: "probe", tenant: "acme", key: "a" };
    const envelope = { id: "m", type: "hear", payload: { text: "once" }, sentAt: 1 };
    let acks = 0;
    const ack = () => {
      acks += 1;
    };
    const cursor = decodeRecord((await transport.records.load(ref, false))!.data).cursor["user"]!;
    broker.streams[0]!.push({
      ref,
      seq: cursor,
      lane: "user",
      envelope,
      storedAt: 1,
      size: 1,
      ack,
    });
    await eventually(() => acks === 1, { name: "the second delivery is acknowledged" });
    expect((await handle.read({})).heard).toEqual(["once"]);
    await host.close();
  });

  test("on a faster lane does not hide an earlier one of its sender (R2)", async () => {
    await using cluster = await startCluster({ definitions: [probe()] });
    const at = (key: string) => cluster.client.actor(Probe, "acme", key);
    for (let n = 0; n < 20; n += 1) {
      await at("sender").relayUrgent({ to: "target", first: `first ${n}`, urgent: `urgent ${n}` });
    }
    await eventually(async () => (await at("target").read({})).heard.length === 40, {
      name: "all forty are heard",
    });
    const { heard } = await at("target").read({});
    const lane = (name: string) => heard.filter((text) => text.startsWith(name));
    const expected = (name: string) => Array.from({ length: 20 }, (_, n) => `${name} ${n}`);
    expect(lane("first")).toEqual(expected("first"));
    expect(lane("urgent")).toEqual(expected("urgent"));
  });

  test("of one sender comes in its order, over many actors and turns (R4)", async () => {
    await using cluster = await startCluster({ definitions: [probe()], partitions: 3 });
    const at = (key: string) => cluster.client.actor(Probe, "acme", key);
    const senders = ["s1", "s2", "s3"];
    for (let n = 0; n < 30; n += 1) {
      for (const from of senders) {
        const texts = [`${from}/${2 * n}`, `${from}/${2 * n + 1}`];
        await at(from).relay({ to: "target", texts });
      }
    }
    await eventually(async () => (await at("target").read({})).heard.length === 180, {
      name: "all are heard",
    });
    const { heard } = await at("target").read({});
    for (const from of senders) {
      const own = heard.filter((text) => text.startsWith(`${from}/`));
      expect(own).toEqual(Array.from({ length: 60 }, (_, n) => `${from}/${n}`));
    }
  });
});

describe("an ask", () => {
  test("sees every tell that its client sent before it (R4)", async () => {
    await using cluster = await startCluster({ definitions: [probe()], nodes: 2 });
    const handle = cluster.client.actor(Probe, "acme", "a");
    for (let n = 1; n <= 50; n += 1) {
      await handle.hear({ text: `${n}` });
      expect((await handle.read({})).heard).toHaveLength(n);
    }
  });
});

describe("an inbox", () => {
  const mail = (seq: number): Mail => ({
    ref: { kind: "probe", tenant: "acme", key: "a" },
    seq,
    lane: "user",
    envelope: { id: `${seq}`, type: "hear", payload: {}, sentAt: 1 },
    storedAt: 1,
    size: 1,
    ack() {},
  });
  const seqs = (items: readonly Item[]) =>
    items.map((item) => (item.type === "mail" ? item.mail.seq : -1));

  test("hands mail out in order and once, whatever is delivered again or put back when (I1, I2)", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 8 }), fc.boolean()), { maxLength: 40 }),
        (deliveries) => {
          const inbox = new Inbox(10, new BodyBudget(1_000));
          let taken: Item[] = [];
          for (const [seq, thenTake] of deliveries) {
            inbox.pushMail(mail(seq));
            if (!thenTake) continue;
            inbox.putBack(taken);
            taken = inbox.take(3, 0, () => true);
            expect(seqs(taken)).toEqual([...new Set(seqs(taken))].toSorted((a, b) => a - b));
          }
          inbox.putBack(taken);
          const all = seqs(inbox.take(99, 0, () => true));
          const expected = [...new Set(deliveries.map(([seq]) => seq))].toSorted((a, b) => a - b);
          expect(all).toEqual(expected);
        },
      ),
    );
  });

  test("keeps the attempts and the backoff of a message that is delivered again (I2)", () => {
    const inbox = new Inbox(10, new BodyBudget(1_000));
    inbox.pushMail(mail(1));
    const [item] = inbox.take(1, 0, () => true);
    if (item?.type !== "mail") throw new Error("no mail");
    inbox.pushMail(mail(1));
    item.attempts = 3;
    item.notBefore = 50;
    inbox.putBack([item]);
    expect(inbox.size).toBe(1);
    expect(inbox.take(1, 49, () => true)).toEqual([]);
    expect(inbox.take(1, 50, () => true)).toMatchObject([{ attempts: 3 }]);
  });

  test("lets asks through a flood of mail (I3)", () => {
    const inbox = new Inbox(10, new BodyBudget(1_000));
    for (let seq = 1; seq <= 100; seq += 1) inbox.pushMail(mail(seq));
    inbox.pushAsk({ type: "ask" } as Item & { type: "ask" });
    expect(inbox.take(64, 0, () => true).filter(({ type }) => type === "ask")).toHaveLength(1);
  });
});

/** Numbers through every way in which a turn can leave something behind. */
const Tally = protocol("tally", {
  step: tell({ n: z.number(), fail: z.boolean() }),
  query: ask({ n: z.number(), fail: z.boolean() }, { seen: z.array(z.number()) }),
  echo: tell({ n: z.number() }),
  read: ask({}, { seen: z.array(z.number()), echoes: z.array(z.number()) }, { readOnly: true }),
});

const tally = actor(Tally, {
  state: z.object({
    seen: z.array(z.number()).default([]),
    echoes: z.array(z.number()).default([]),
  }),
  supervision: { ...DEFAULT_SUPERVISION, on: { default: "resume" } },
  handlers: {
    step(ctx, { n, fail }) {
      ctx.state.seen.push(n);
      ctx.actor(Tally, "echo").echo({ n });
      ctx.put("jobs", "tally", ctx.state.seen);
      if (fail) throw new Error("told to");
    },
    query(ctx, { n, fail }) {
      ctx.state.seen.push(n);
      ctx.actor(Tally, "echo").echo({ n });
      if (fail) throw new Error("told to");
      return { seen: ctx.state.seen };
    },
    echo(ctx, { n }) {
      ctx.state.echoes.push(n);
    },
    read: (ctx) => ({ seen: ctx.state.seen, echoes: ctx.state.echoes }),
  },
});

interface Call {
  readonly kind: "step" | "query";
  readonly fail: boolean;
}

async function play(calls: readonly Call[], together: boolean) {
  const broker = new MemoryBroker({ clock: systemClock, partitions: 1 });
  const transport = connectMemory(broker);
  const host = partitionHost({ transport, definitions: [tally], epoch: 1 });
  const client = actorClient({ transport, clock: systemClock });
  const at = (key: string) => client.actor(Tally, "acme", key);
  await host.open();
  const answers: Promise<unknown>[] = [];
  for (const [n, { kind, fail }] of calls.entries()) {
    const input = { n, fail };
    const call =
      kind === "step"
        ? at("main").step(input)
        : at("main")
            .query(input)
            .catch((thrown: { code: string }) => thrown.code);
    answers.push(call);
    if (!together) {
      await call;
      await eventually(() => broker.mail[0]!.length === 0, { name: "handled" });
    }
  }
  const replies = await Promise.all(answers);
  await eventually(() => broker.mail[0]!.length === 0, { name: "handled" });
  const { seen } = await at("main").read({});
  const { echoes } = await at("echo").read({});
  const put: unknown = JSON.parse(
    new TextDecoder().decode((await transport.buckets.get("jobs", "tally"))?.value) || "null",
  );
  await host.close();
  return { replies, seen, echoes, put, letters: broker.deadLetters.length };
}

describe("turns that share a commit", () => {
  const kinds = fc.constantFrom("step", "query");
  const calls = (kind: fc.Arbitrary<string>) =>
    fc.array(fc.record({ kind: kind as fc.Arbitrary<Call["kind"]>, fail: fc.boolean() }), {
      minLength: 1,
      maxLength: 12,
    });

  test("leave what they leave one by one, throwing handlers among them (R3)", async () => {
    await fc.assert(
      fc.asyncProperty(calls(fc.constant("query")), async (list) => {
        expect(await play(list, true)).toEqual(await play(list, false));
      }),
      { numRuns: 40 },
    );
    await fc.assert(
      fc.asyncProperty(calls(fc.constant("step")), async (list) => {
        expect(await play(list, true)).toEqual(await play(list, false));
      }),
      { numRuns: 25 },
    );
  }, 60_000);

  test("mixed lose and double nothing, whatever their order (R3)", async () => {
    await fc.assert(
      fc.asyncProperty(calls(kinds), async (list) => {
        const { seen, echoes, letters } = await play(list, true);
        const expected = list.flatMap(({ fail }, n) => (fail ? [] : [n]));
        expect(seen.toSorted((a, b) => a - b)).toEqual(expected);
        expect(echoes).toEqual(seen);
        expect(letters).toBe(list.filter(({ kind, fail }) => kind === "step" && fail).length);
      }),
      { numRuns: 25 },
    );
  }, 60_000);
});
