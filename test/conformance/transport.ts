/** What every transport promises, whatever is beneath it. Called for each from the files beside this one. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Act, systemActor } from "../../protocols/audit.ts";
import type { Due, Envelope } from "../../protocols/envelope.ts";
import type { ActorRef } from "../../protocols/ids.ts";
import { partitionOf } from "../../protocols/partition.ts";
import type { MailLane } from "../../protocols/protocol.ts";
import type { DeadLetter } from "../../protocols/records.ts";
import { subjects } from "../../protocols/subjects.ts";
import { auditOf } from "../../runtime/audit.ts";
import { sealEntry, verifyChain } from "../../runtime/audit-chain.ts";
import { systemClock } from "../../runtime/clock.ts";
import type { LetterFilter } from "../../runtime/dead-letters.ts";
import type {
  KeyEntry,
  Mail,
  MailRead,
  MailStream,
  OpenRecord,
  Transport,
} from "../../runtime/transport.ts";
import { eventually } from "../support/eventually.ts";

export interface TransportRig extends AsyncDisposable {
  /** A connection of its own; closed with the rig. */
  connect(): Promise<Transport>;
  /** Mail that one lane of one actor may hold. */
  readonly mailboxCapacity: number;
  /** Longer than a few writes take, one after the other (default 1 000 ms): what a test sets for later lies that far ahead. Whole seconds. */
  readonly writesWithinMs?: number;
}

const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const decode = (data: Uint8Array) => JSON.parse(new TextDecoder().decode(data)) as unknown;
const text = (value: string) => new TextEncoder().encode(value);

let made = 0;
/** An actor that no other test has used. */
function fresh(kind = "probe", tenant = "acme"): ActorRef {
  made += 1;
  return { kind, tenant, key: `k${made}` };
}

function envelope(id: string, payload: unknown = {}): Envelope {
  return { id, type: "hear", payload, sentAt: 1 };
}

class Reader {
  readonly got: Mail[] = [];
  readonly done: Promise<void>;
  error: unknown;

  constructor(stream: MailStream) {
    this.done = (async () => {
      for await (const mail of stream) this.got.push(mail);
    })().catch((thrown: unknown) => {
      this.error = thrown;
    });
  }

  ids(ref: ActorRef): string[] {
    return this.got
      .filter((mail) => mail.ref.key === ref.key)
      .map(({ envelope: body }) => ("due" in body ? body.due.id : body.id));
  }

  until(ref: ActorRef, count: number): Promise<string[]> {
    return eventually(
      () => {
        const ids = this.ids(ref);
        return ids.length >= count && ids;
      },
      { name: `${count} messages for ${ref.key}` },
    );
  }
}

export function transportSuite(name: string, make: () => Promise<TransportRig>): void {
  describe(name, () => {
    let rig: TransportRig;
    let one: Transport;
    let two: Transport;
    const partition = (ref: ActorRef) => partitionOf(ref, one.partitions);
    const soonMs = () => rig.writesWithinMs ?? 1_000;

    beforeAll(async () => {
      rig = await make();
      one = await rig.connect();
      two = await rig.connect();
    });
    afterAll(() => rig?.[Symbol.asyncDispose]());

    describe.each([false, true])("a record (journaled: %s)", (journaled) => {
      const write = (at: Transport, ref: ActorRef, value: unknown, expected: number) =>
        at.records.commit(ref, encode(value), { expected, journaled, pending: false });

      test("does not exist before its first commit", async () => {
        expect(await one.records.load(fresh(), journaled)).toBeUndefined();
      });

      test("is what was committed last, seen by every connection", async () => {
        const ref = fresh();
        const first = await write(one, ref, { n: 1 }, 0);
        const second = await write(two, ref, { n: 2 }, first);
        expect(second).toBeGreaterThan(first);
        const found = await one.records.load(ref, journaled);
        expect(found?.revision).toBe(second);
        expect(decode(found!.data)).toEqual({ n: 2 });
      });

      test("refuses a commit that expects another revision, and keeps what it had", async () => {
        const ref = fresh();
        const first = await write(one, ref, { n: 1 }, 0);
        await expect(write(two, ref, { n: 9 }, 0)).rejects.toMatchObject({
          code: "record.conflict",
        });
        await expect(write(two, ref, { n: 9 }, first + 1)).rejects.toMatchObject({
          code: "record.conflict",
        });
        expect((await one.records.load(ref, journaled))?.revision).toBe(first);
      });

      test("takes exactly one of many commits that expect the same revision", async () => {
        const ref = fresh();
        const tries = Array.from({ length: 20 }, (_, n) =>
          write(n % 2 === 0 ? one : two, ref, { n }, 0),
        );
        const outcomes = await Promise.allSettled(tries);
        expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
      });

      test("is found by the scan of its partition while it is pending, not after", async () => {
        const ref = fresh();
        const scan = async () => {
          const keys: OpenRecord[] = [];
          for await (const found of two.records.pending(partition(ref))) {
            if (found.ref.key === ref.key) keys.push(found);
          }
          return keys;
        };
        const open = { epoch: 7, outbox: true, effects: false };
        const options = { journaled, expected: 0, pending: open };
        const revision = await one.records.commit(ref, encode({}), options);
        expect(await scan()).toEqual([{ ref, revision, journaled, ...open }]);
        await write(one, ref, {}, revision);
        expect(await scan()).toEqual([]);
      });
    });

    test.each([false, true])(
      "a scan finds only what was left open after a place, once (journaled: %s)",
      async (journaled) => {
        const ref = fresh();
        const open = { epoch: 7, outbox: false, effects: true };
        const commit = (of: ActorRef, expected: number, pending: typeof open | false) =>
          one.records.commit(of, encode({}), { journaled, expected, pending });
        const first = await commit(ref, 0, open);
        const keys = async (after: number) => {
          const found: number[] = [];
          const place = { records: after, journal: after };
          for await (const { ref: of, revision } of two.records.pending(partition(ref), place)) {
            if (of.key === ref.key) found.push(revision);
          }
          return found;
        };
        expect(await keys(first - 1)).toEqual([first]);
        expect(await keys(first)).toEqual([]);
        const second = await commit(ref, first, open);
        expect(await keys(first - 1)).toEqual([second]);
        const third = await commit(ref, second, false);
        expect(await keys(first - 1)).toEqual([]);
        expect(await keys(third + 1_000)).toEqual([]);
      },
    );

    test("a journal keeps every page, and reads them from any revision on", async () => {
      const ref = fresh("session");
      const revisions: number[] = [];
      for (let n = 0; n < 5; n += 1) {
        const expected = revisions.at(-1) ?? 0;
        const options = { expected, journaled: true, pending: false as const };
        revisions.push(await one.records.commit(ref, encode({ n }), options));
      }
      const pages = async (from: number, limit: number) =>
        (await two.records.journal(ref, from, limit)).map(({ data }) => decode(data));
      expect(await pages(0, 10)).toEqual([0, 1, 2, 3, 4].map((n) => ({ n })));
      expect(await pages(revisions[2]!, 2)).toEqual([{ n: 2 }, { n: 3 }]);
      expect(await pages(revisions[4]! + 1, 10)).toEqual([]);
    });

    test("a journal page appears at once on the actor's live subject", async () => {
      const ref = fresh("session");
      const seen: unknown[] = [];
      const serving = two.bus.serve(subjects.live(ref), undefined, ({ data }) =>
        seen.push(decode(data)),
      );
      await serving.ready;
      await one.records.commit(ref, encode({ n: 1 }), {
        expected: 0,
        journaled: true,
        pending: false,
      });
      await eventually(() => seen.length === 1, { name: "the page is seen live" });
      expect(seen).toEqual([{ n: 1 }]);
      await serving.close();
    });

    describe("a mailbox", () => {
      test("delivers what was stored before and after it is opened, in order", async () => {
        const ref = fresh();
        await one.mailboxes.send(ref, "user", envelope(`${ref.key}-1`));
        const stream = await two.mailboxes.open(partition(ref));
        const reader = new Reader(stream);
        const second = await one.mailboxes.send(ref, "user", envelope(`${ref.key}-2`, { deep: 1 }));
        expect(await reader.until(ref, 2)).toEqual([`${ref.key}-1`, `${ref.key}-2`]);
        const last = reader.got.at(-1)!;
        expect(last).toMatchObject({ ref, seq: second, lane: "user" });
        expect(last.envelope).toMatchObject({ payload: { deep: 1 } });
        for (const mail of reader.got) mail.ack();
        await stream.close();
        await reader.done;
        expect(reader.error).toBeUndefined();
      });

      test("gives what was not acknowledged to the next reader again, in order", async () => {
        const ref = fresh();
        for (const n of [1, 2, 3]) {
          await one.mailboxes.send(ref, "user", envelope(`${ref.key}-${n}`));
        }
        const stream = await one.mailboxes.open(partition(ref));
        const reader = new Reader(stream);
        await reader.until(ref, 3);
        reader.got.find((mail) => mail.ref.key === ref.key)!.ack();
        // An acknowledgement is not confirmed; what follows it on its connection shows that it went.
        await one.mailboxes.send(fresh(), "user", envelope(`${ref.key}-behind`));
        await stream.close();
        const again = await two.mailboxes.open(partition(ref));
        const second = new Reader(again);
        expect(await second.until(ref, 2)).toEqual([`${ref.key}-2`, `${ref.key}-3`]);
        for (const mail of second.got) mail.ack();
        await again.close();
      });

      test("ends its stream when another reader takes the partition over", async () => {
        const ref = fresh();
        const first = new Reader(await one.mailboxes.open(partition(ref)));
        const taken = await two.mailboxes.open(partition(ref));
        await eventually(() => first.error !== undefined, { name: "the first stream ends" });
        const second = new Reader(taken);
        await one.mailboxes.send(ref, "user", envelope(`${ref.key}-1`));
        expect(await second.until(ref, 1)).toEqual([`${ref.key}-1`]);
        expect(first.ids(ref)).toEqual([]);
        for (const mail of second.got) mail.ack();
        await taken.close();
      });

      test("keeps one of two messages with one id", async () => {
        const ref = fresh();
        const first = await one.mailboxes.send(ref, "user", envelope(`${ref.key}-1`));
        const second = await two.mailboxes.send(ref, "user", envelope(`${ref.key}-1`));
        expect(second).toBe(first);
        const stream = await one.mailboxes.open(partition(ref));
        const reader = new Reader(stream);
        await one.mailboxes.send(ref, "user", envelope(`${ref.key}-2`));
        expect(await reader.until(ref, 2)).toEqual([`${ref.key}-1`, `${ref.key}-2`]);
        for (const mail of reader.got) mail.ack();
        await stream.close();
      });

      test("that is full refuses with its own error, one lane at a time", async () => {
        const ref = fresh();
        for (let n = 0; n < rig.mailboxCapacity; n += 1) {
          await one.mailboxes.send(ref, "user", envelope(`${ref.key}-${n}`));
        }
        await expect(
          one.mailboxes.send(ref, "user", envelope(`${ref.key}-over`)),
        ).rejects.toMatchObject({ code: "actor.mailbox_full" });
        await one.mailboxes.send(ref, "control", envelope(`${ref.key}-control`));
        const stream = await one.mailboxes.open(partition(ref));
        const reader = new Reader(stream);
        await reader.until(ref, rig.mailboxCapacity + 1);
        for (const mail of reader.got) mail.ack();
        await eventually(() => one.mailboxes.send(ref, "user", envelope(`${ref.key}-again`)), {
          name: "there is room again",
        });
        await eventually(() => reader.ids(ref).includes(`${ref.key}-again`), { name: "it came" });
        for (const mail of reader.got) mail.ack();
        await stream.close();
      });
    });

    describe("held mail", () => {
      const store = async (ref: ActorRef, lane: MailLane, count: number) => {
        const seqs: number[] = [];
        for (let n = 1; n <= count; n += 1) {
          seqs.push(
            await one.mailboxes.send(ref, lane, envelope(`${ref.key}-${lane}-${n}`, { n })),
          );
        }
        return seqs;
      };
      const bodies = (read: MailRead) =>
        read.found.map(({ envelope: body }) => ("due" in body ? body.due.id : body.id));

      test("is read again by its sequences, in order, and by nobody else's (R4)", async () => {
        const ref = fresh();
        const seqs = await store(ref, "user", 4);
        await store(ref, "background", 2);
        await store(fresh(), "user", 2);
        const read = await two.mailboxes.read(ref, "user", seqs.slice(1));
        expect(bodies(read)).toEqual([2, 3, 4].map((n) => `${ref.key}-user-${n}`));
        expect(read.found.map(({ seq }) => seq)).toEqual(seqs.slice(1));
        expect(read.found[0]).toMatchObject({ ref, lane: "user", envelope: { payload: { n: 2 } } });
        expect(read.gone).toEqual([]);
        const stream = await one.mailboxes.open(partition(ref));
        const reader = new Reader(stream);
        await reader.until(ref, 6);
        for (const mail of reader.got) mail.ack();
        await stream.close();
      });

      test("that was read again is acknowledged by what was read, on every lane (R2)", async () => {
        const ref = fresh();
        const due: Due = { id: `${ref.key}-due`, name: "r", type: "alarm", payload: {} };
        const stream = await one.mailboxes.open(partition(ref));
        const reader = new Reader(stream);
        await one.mailboxes.schedule(ref, due, Date.now() - 1_000);
        for (const lane of ["system", "control", "user", "background"] as const) {
          await store(ref, lane, 2);
        }
        await reader.until(ref, 9);
        const own = reader.got.filter((mail) => mail.ref.key === ref.key);
        for (const lane of ["due", "system", "control", "user", "background"] as const) {
          const seqs = own.filter((mail) => mail.lane === lane).map(({ seq }) => seq);
          const read = await two.mailboxes.read(ref, lane, seqs);
          expect(read.found.map(({ seq }) => seq)).toEqual(seqs);
          for (const mail of read.found) mail.ack();
        }
        await two.mailboxes.send(fresh(), "user", envelope(`${ref.key}-behind`));
        await stream.close();
        const again = await one.mailboxes.open(partition(ref));
        const second = new Reader(again);
        await one.mailboxes.send(ref, "user", envelope(`${ref.key}-last`));
        expect(await second.until(ref, 1)).toEqual([`${ref.key}-last`]);
        for (const mail of second.got) mail.ack();
        await again.close();
      });

      test("that has left the mailbox is named as gone once a later one shows it", async () => {
        const ref = fresh();
        const seqs = await store(ref, "user", 3);
        const stream = await one.mailboxes.open(partition(ref));
        const reader = new Reader(stream);
        await reader.until(ref, 3);
        reader.got.find(({ seq }) => seq === seqs[1])!.ack();
        await eventually(
          async () => (await two.mailboxes.read(ref, "user", seqs)).found.length === 2,
          { name: "the acknowledgement arrives" },
        );
        const read = await two.mailboxes.read(ref, "user", seqs);
        expect(bodies(read)).toEqual([1, 3].map((n) => `${ref.key}-user-${n}`));
        expect(read.gone).toEqual([seqs[1]]);
        for (const mail of reader.got) mail.ack();
        await stream.close();
      });
    });

    describe("a reminder", () => {
      const due = (id: string, reminder = "r"): Due => ({
        id,
        name: reminder,
        type: "alarm",
        payload: { id },
      });
      const listen = async (ref: ActorRef) => {
        const stream = await two.mailboxes.open(partition(ref));
        return { stream, reader: new Reader(stream) };
      };

      test("fires at its time, and at once when that is past", async () => {
        const ref = fresh();
        const { stream, reader } = await listen(ref);
        const at = Date.now() + soonMs() + 200;
        await one.mailboxes.schedule(ref, due(`${ref.key}-later`, "later"), at);
        await one.mailboxes.schedule(ref, due(`${ref.key}-past`, "past"), Date.now() - 60_000);
        expect(await reader.until(ref, 2)).toEqual([`${ref.key}-past`, `${ref.key}-later`]);
        const late = reader.got.at(-1)!;
        expect(late.lane).toBe("due");
        expect(late.storedAt).toBeGreaterThanOrEqual(at - 50);
        expect(late.storedAt).toBeLessThan(at + soonMs());
        for (const mail of reader.got) mail.ack();
        await stream.close();
      });

      test("replaces the one of its name, and fires once", async () => {
        const ref = fresh();
        const { stream, reader } = await listen(ref);
        const soon = Date.now() + soonMs();
        await one.mailboxes.schedule(ref, due(`${ref.key}-1`), soon);
        await one.mailboxes.schedule(ref, due(`${ref.key}-2`), soon + 500);
        await one.mailboxes.schedule(ref, due(`${ref.key}-end`, "end"), soon + 1_500);
        expect(await reader.until(ref, 2)).toEqual([`${ref.key}-2`, `${ref.key}-end`]);
        for (const mail of reader.got) mail.ack();
        await stream.close();
      });

      test("that was cancelled does not fire; cancelling none is no error", async () => {
        const ref = fresh();
        const { stream, reader } = await listen(ref);
        await one.mailboxes.unschedule(ref, "r");
        const soon = Date.now() + soonMs();
        await one.mailboxes.schedule(ref, due(`${ref.key}-1`), soon);
        await one.mailboxes.schedule(ref, due(`${ref.key}-end`, "end"), soon + 1_000);
        await one.mailboxes.unschedule(ref, "r");
        expect(await reader.until(ref, 1)).toEqual([`${ref.key}-end`]);
        for (const mail of reader.got) mail.ack();
        await stream.close();
      });
    });

    describe("the bus", () => {
      test("answers a request, and gives it to one of a queue", async () => {
        const calls: string[] = [];
        const serve = (at: Transport, who: string) =>
          at.bus.serve("test.queue.*", "q", (request) => {
            calls.push(who);
            request.reply(text(`${who}:${request.subject}`));
          });
        const servings = [serve(one, "one"), serve(two, "two")];
        await Promise.all(servings.map((serving) => serving.ready));
        const answer = await two.bus.request("test.queue.a", text("hi"), 2_000);
        expect(new TextDecoder().decode(answer)).toMatch(/^(one|two):test\.queue\.a$/);
        expect(calls).toHaveLength(1);
        for (const serving of servings) await serving.close();
      });

      // Another server of a cluster hears of a subscription, and of its end, a moment after the one it was made on.
      test("says that nobody listens, also after a server has closed", async () => {
        const ask = () => one.bus.request("test.nobody", text(""), 1_000);
        const isRefused = () => expect(ask()).rejects.toMatchObject({ code: "actor.moved" });
        await isRefused();
        const serving = two.bus.serve("test.nobody", "q", (request) => request.reply(text("yes")));
        await serving.ready;
        await eventually(ask, { name: "the one who listens is found" });
        await serving.close();
        await eventually(isRefused, { name: "nobody is found" });
      });

      test("gives a request up when its time has passed", async () => {
        const serving = two.bus.serve("test.silent", undefined, () => {});
        await serving.ready;
        const isGivenUp = () =>
          expect(one.bus.request("test.silent", text(""), 50)).rejects.toMatchObject({
            code: "ask.timeout",
          });
        await eventually(isGivenUp, { name: "the one who is silent is found" });
        await serving.close();
      });
    });

    describe("a bucket", () => {
      test("has compare-and-set, where 0 means that the key is not there", async () => {
        const { buckets } = one;
        const first = await buckets.put("tenants", "cas", text("1"), { expected: 0 });
        await expect(
          two.buckets.put("tenants", "cas", text("2"), { expected: 0 }),
        ).rejects.toMatchObject({ code: "record.conflict" });
        await buckets.put("tenants", "cas", text("2"), { expected: first });
        await expect(
          two.buckets.put("tenants", "cas", text("3"), { expected: first }),
        ).rejects.toMatchObject({ code: "record.conflict" });
        expect(new TextDecoder().decode((await buckets.get("tenants", "cas"))?.value)).toBe("2");
      });

      test("is removed only while it has the revision that is expected, if one is", async () => {
        const first = await one.buckets.put("tenants", "guarded", text("a"));
        const second = await two.buckets.put("tenants", "guarded", text("b"));
        await expect(
          one.buckets.remove("tenants", "guarded", { expected: first }),
        ).rejects.toMatchObject({ code: "record.conflict" });
        expect((await one.buckets.get("tenants", "guarded"))?.revision).toBe(second);
        await one.buckets.remove("tenants", "guarded", { expected: second });
        expect(await two.buckets.get("tenants", "guarded")).toBeUndefined();
      });

      test("takes a key that was removed as one that is not there", async () => {
        await one.buckets.put("tenants", "gone", text("1"));
        await one.buckets.remove("tenants", "gone");
        expect(await two.buckets.get("tenants", "gone")).toBeUndefined();
        await two.buckets.put("tenants", "gone", text("2"), { expected: 0 });
        expect(await one.buckets.get("tenants", "gone")).toMatchObject({ value: text("2") });
      });

      test("lets a key expire, unless it is renewed", async () => {
        const revision = await one.buckets.put("nodes", "ttl", text("1"), { ttlMs: soonMs() });
        const renewedAt = performance.now();
        const again = { expected: revision, ttlMs: soonMs() + 1_000 };
        await one.buckets.put("nodes", "ttl", text("2"), again);
        await eventually(async () => (await two.buckets.get("nodes", "ttl")) === undefined, {
          name: "the key expires",
        });
        expect(performance.now() - renewedAt).toBeGreaterThan(soonMs() + 900);
        await one.buckets.put("nodes", "ttl", text("3"), { expected: 0, ttlMs: 1_000 });
      });

      test("lists by whole tokens of a prefix, sorted, without what is gone", async () => {
        for (const key of ["a.u2.x", "a.u1.x", "a.u1.y", "a.u10.x", "b.u1.x"]) {
          await one.buckets.put("sessions", key, text(key));
        }
        await one.buckets.remove("sessions", "a.u1.y");
        const keys = async (prefix: string) =>
          (await two.buckets.list("sessions", prefix)).map(({ key }) => key);
        expect(await keys("a.u1")).toEqual(["a.u1.x"]);
        expect(await keys("a")).toEqual(["a.u1.x", "a.u10.x", "a.u2.x"]);
        expect(await keys("c")).toEqual([]);
        expect(await keys("")).toHaveLength(4);
      });

      test("lists more keys than one batch holds, while some of them expire", async () => {
        await Promise.all(
          Array.from({ length: 1_200 }, (_, n) =>
            one.buckets.put("jobs", `many.k${n}`, text("x"), n % 3 ? {} : { ttlMs: 1_000 }),
          ),
        );
        await eventually(
          async () => {
            const { length } = await two.buckets.list("jobs", "many");
            expect(length).toBeGreaterThanOrEqual(800);
            return length === 800;
          },
          { name: "the short-lived keys are gone" },
        );
      });

      test("tells a watcher what is there before it resolves, then every change", async () => {
        await one.buckets.put("workers", "w1", text("1"));
        await one.buckets.put("workers", "w2", text("1"), { ttlMs: soonMs() + 1_000 });
        const seen: [string, string | undefined][] = [];
        const onEntry = ({ key, value }: KeyEntry) =>
          seen.push([key, value && new TextDecoder().decode(value)]);
        const watch = await two.buckets.watch("workers", onEntry);
        expect(seen.toSorted(([a], [b]) => a.localeCompare(b))).toEqual([
          ["w1", "1"],
          ["w2", "1"],
        ]);
        await one.buckets.put("workers", "w1", text("2"));
        await one.buckets.remove("workers", "w1");
        await eventually(() => seen.length >= 5, { name: "the change, the removal, the expiry" });
        expect(seen.slice(2)).toEqual([
          ["w1", "2"],
          ["w1", undefined],
          ["w2", undefined],
        ]);
        await watch.close();
      });
    });

    describe("an audit trail", () => {
      const clock = systemClock;
      const act = (tenant: string, target: string): Act => ({
        tenant,
        actor: systemActor("test"),
        act: "tenant.put",
        target,
        outcome: "allowed",
      });
      const chainOf = async (tenant: string) =>
        (await one.audit.read(tenant, 1, 1_000)).map(({ entry }) => entry);

      test("is empty before there was anything", async () => {
        expect(await one.audit.newest("au-none")).toBeUndefined();
        expect(await one.audit.read("au-none", 1, 10)).toEqual([]);
        expect(await one.audit.bounds("au-none")).toEqual({ first: 1, last: 0 });
      });

      test("of a tenant is one chain, whoever writes and how many at once", async () => {
        const writers = [one, two, one].map(({ audit }) =>
          auditOf({ store: audit, clock, random: Math.random }),
        );
        const acts = Array.from({ length: 24 }, (_, n) => act("au-chain", `t${n}`));
        await Promise.all(acts.map((each, n) => writers[n % writers.length]!.record(each)));
        const entries = await chainOf("au-chain");
        expect(entries.map(({ target }) => target).toSorted()).toEqual(
          acts.map(({ target }) => target).toSorted(),
        );
        const report = verifyChain(entries, { now: clock.now() });
        expect(report).toMatchObject({ entries: 24, pruned: 0, fault: undefined });
        expect(entries.map(({ seq }) => seq)).toEqual(entries.map((_, n) => n + 1));
      });

      test("refuses an entry in a place that is taken, and takes an id once", async () => {
        const first = sealEntry(act("au-once", "a"), {
          id: "aud_once",
          time: "2026-01-01T00:00:00.000Z",
          previous: undefined,
        });
        await one.audit.append(first, 0);
        const { revision } = (await two.audit.newest("au-once"))!;
        await two.audit.append(first, revision);
        await expect(two.audit.append({ ...first, id: "aud_2" }, 0)).rejects.toMatchObject({
          code: "record.conflict",
        });
        expect(await chainOf("au-once")).toEqual([first]);
      });

      test("is read from any place of a chain, and as a whole in the order of storage", async () => {
        const audit = auditOf({ store: one.audit, clock, random: Math.random });
        for (let n = 1; n <= 6; n += 1) {
          await audit.record(act("au-read", `r${n}`));
          await audit.record(act("au-beside", `b${n}`));
        }
        const places = async (from: number, limit: number) =>
          (await two.audit.read("au-read", from, limit)).map(({ place }) => place);
        expect(await places(1, 3)).toEqual([1, 2, 3]);
        expect(await places(5, 10)).toEqual([5, 6]);
        expect(await places(7, 10)).toEqual([]);
        expect(await two.audit.bounds("au-read")).toEqual({ first: 1, last: 6 });
        const { last } = await two.audit.bounds(undefined);
        const newest = await two.audit.read(undefined, last - 3, 10);
        expect(newest.map(({ entry }) => entry.target)).toEqual(["r5", "b5", "r6", "b6"]);
      });
    });

    describe("dead letters", () => {
      const letter = (ref: ActorRef, id: string): DeadLetter => ({
        id,
        actor: ref,
        lane: "user",
        envelope: { ...envelope(id, { id }), nth: 3, effect: "e" },
        reason: { code: "actor.failed", message: "told to" },
        epoch: 1,
        attempts: 4,
        at: 5,
      });
      const senders = (letters: readonly DeadLetter[]) =>
        letters.map(({ envelope: body }) => (body as Envelope).id);
      // A listing is read from the copy nearest to who asks, which may lag.
      const listed = async (tenant: string, ids: readonly string[]) => {
        for (const { deadLetters } of [one, two]) {
          await eventually(
            async () => {
              const { letters } = await deadLetters.list({ tenant, limit: 9 });
              expect(senders(letters).toSorted()).toEqual(ids.toSorted());
            },
            { name: `the letters of ${tenant} are ${ids.join()}` },
          );
        }
      };
      const fill = async (tenant: string, count: number) => {
        const ref = fresh("probe", tenant);
        const ids = Array.from({ length: count }, (_, n) => `${ref.key}-${n}`);
        for (const id of ids) await one.mailboxes.deadLetter(letter(ref, id));
        await listed(tenant, ids);
        return ref;
      };

      // Asked of a stream that is as new as the broker, the listing once never ended.
      test("are an empty list before there was any", async () => {
        expect(await one.deadLetters.list({ limit: 5 })).toEqual({ letters: [], next: null });
        expect(await one.deadLetters.list({ tenant: "dl-none", limit: 5 })).toEqual({
          letters: [],
          next: null,
        });
      });

      test("are listed newest first, by tenant and in pages", async () => {
        const ref = await fill("dl-pages", 5);
        await fill("dl-other", 2);
        const tenant = "dl-pages";
        const first = await two.deadLetters.list({ tenant, limit: 2 });
        expect(senders(first.letters)).toEqual([`${ref.key}-4`, `${ref.key}-3`]);
        expect(first.next).toBe(first.letters[1]!.id);
        const second = await two.deadLetters.list({ tenant, limit: 3, after: first.next! });
        expect(senders(second.letters)).toEqual(
          [0, 1, 2].toReversed().map((n) => `${ref.key}-${n}`),
        );
        expect(second.next).toBeNull();
        const all = await two.deadLetters.list({ limit: 3 });
        expect(all.letters.map(({ actor }) => actor.tenant)).toEqual([
          "dl-other",
          "dl-other",
          "dl-pages",
        ]);
      });

      test("are stored once however often they are written", async () => {
        const ref = fresh("probe", "dl-once");
        await one.mailboxes.deadLetter(letter(ref, ref.key));
        await two.mailboxes.deadLetter(letter(ref, ref.key));
        await listed("dl-once", [ref.key]);
        const { letters } = await one.deadLetters.list({ tenant: "dl-once", limit: 9 });
        expect(await two.deadLetters.get(letters[0]!.id)).toEqual(letters[0]);
      });

      test("are replayed to their actor as a new message, and are gone then", async () => {
        const ref = await fill("dl-replay", 1);
        const { letters } = await one.deadLetters.list({ tenant: "dl-replay", limit: 9 });
        const stream = await two.mailboxes.open(partition(ref));
        const reader = new Reader(stream);
        await one.deadLetters.replay(letters[0]!.id);
        await reader.until(ref, 1);
        const [mail] = reader.got.filter((got) => got.ref.key === ref.key);
        const body = mail!.envelope as Envelope;
        expect(body).toMatchObject({ type: "hear", payload: { id: `${ref.key}-0` } });
        expect(body.id).not.toBe(`${ref.key}-0`);
        expect([body.nth, body.effect]).toEqual([undefined, undefined]);
        for (const got of reader.got) got.ack();
        await stream.close();
        await expect(one.deadLetters.replay(letters[0]!.id)).rejects.toMatchObject({
          code: "request.not_found",
        });
      });

      const store = (actor: ActorRef, id: string, code = "actor.failed") =>
        one.mailboxes.deadLetter({ ...letter(actor, id), reason: { code, message: "why" } });

      test("are listed and purged by tenant, kind, key and reason, and by all of them at once", async () => {
        const tenant = "dl-filter";
        const [a, b] = [fresh("probe", tenant), fresh("other", tenant)];
        await store(a, `${a.key}-1`);
        await store(a, `${a.key}-2`, "actor.children_failed");
        await store(b, `${b.key}-1`);
        const counts = (filter: LetterFilter, count: number) =>
          eventually(
            async () => {
              const { letters } = await two.deadLetters.list({ tenant, ...filter, limit: 9 });
              expect(letters).toHaveLength(count);
            },
            { name: `${count} of ${JSON.stringify(filter)}` },
          );
        await counts({}, 3);
        await counts({ kind: "probe" }, 2);
        await counts({ key: b.key }, 1);
        await counts({ code: "actor.failed" }, 2);
        await counts({ kind: "probe", key: a.key, code: "actor.failed" }, 1);
        expect(await one.deadLetters.purge({ tenant, code: "actor.children_failed" })).toBe(1);
        expect(await one.deadLetters.purge({ tenant, kind: "probe" })).toBe(1);
        await counts({}, 1);
      });

      test("are replayed many at once by a filter, oldest first; others stay (R4)", async () => {
        const tenant = "dl-many";
        const ref = fresh("probe", tenant);
        for (const n of [1, 2, 3]) await store(ref, `${ref.key}-${n}`);
        await store(ref, `${ref.key}-other`, "request.invalid");
        await listed(
          tenant,
          [1, 2, 3, "other"].map((id) => `${ref.key}-${id}`),
        );
        const stream = await two.mailboxes.open(partition(ref));
        const reader = new Reader(stream);
        const outcome = await one.deadLetters.replayAll({ tenant, code: "actor.failed" });
        expect(outcome).toEqual({ replayed: 3, failed: [] });
        await reader.until(ref, 3);
        const payloads = reader.got
          .filter((got) => got.ref.key === ref.key)
          .map((got) => (got.envelope as Envelope).payload);
        expect(payloads).toEqual([1, 2, 3].map((n) => ({ id: `${ref.key}-${n}` })));
        for (const got of reader.got) got.ack();
        await stream.close();
        await listed(tenant, [`${ref.key}-other`]);
      });

      test("of reminders are replayed as the message that the reminder was to be", async () => {
        const ref = fresh("probe", "dl-due");
        const due = { id: "r1", name: "soon", type: "alarm", payload: { text: "late" } };
        await one.mailboxes.deadLetter({ ...letter(ref, `${ref.key}-due`), envelope: due });
        await listed("dl-due", [due.id]);
        const [found] = (await one.deadLetters.list({ tenant: "dl-due", limit: 1 })).letters;
        const stream = await two.mailboxes.open(partition(ref));
        const reader = new Reader(stream);
        await one.deadLetters.replay(found!.id);
        await reader.until(ref, 1);
        const mail = reader.got.find((got) => got.ref.key === ref.key)!;
        expect(mail.lane).toBe("user");
        expect(mail.envelope).toMatchObject({ type: "alarm", payload: { text: "late" } });
        for (const got of reader.got) got.ack();
        await stream.close();
      });

      test("are purged one by one or by tenant", async () => {
        await fill("dl-purge", 3);
        const { letters } = await one.deadLetters.list({ tenant: "dl-purge", limit: 9 });
        expect(await one.deadLetters.purge({ id: letters[0]!.id })).toBe(1);
        expect(await one.deadLetters.purge({ id: letters[0]!.id })).toBe(0);
        expect(await one.deadLetters.purge({ id: "no.such" })).toBe(0);
        expect(await two.deadLetters.purge({ tenant: "dl-purge" })).toBe(2);
        await listed("dl-purge", []);
      });
    });
  });
}
