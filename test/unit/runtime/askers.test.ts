/** R3: an ask that is sent again is handled once. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { SentBy } from "../../../protocols/envelope.ts";
import { BerthError } from "../../../protocols/errors.ts";
import { actorClient } from "../../../runtime/actor-client.ts";
import { AskNumbers } from "../../../runtime/ask-numbers.ts";
import { type Askers, addHandled, wasHandled } from "../../../runtime/askers.ts";
import { encodeError } from "../../../runtime/batch.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { MemoryBroker } from "../../../runtime/memory/broker.ts";
import { connectMemory } from "../../../runtime/memory/transport.ts";
import { decodeRecord } from "../../../runtime/record.ts";
import type { OnStep } from "../../../runtime/steps.ts";
import type { Incoming, Transport } from "../../../runtime/transport.ts";
import { Probe, probe } from "../../support/actors.ts";
import { deferred } from "../../support/deferred.ts";
import { eventually } from "../../support/eventually.ts";
import { partitionHost } from "../../support/host.ts";

const by = (client: string, n: number, settled = 0): SentBy => [client, n, settled, 0];

describe("what an actor remembers of asks", () => {
  test("tells every ask that it has handled, in whatever order, from one that it has not", () => {
    const call = fc.record({
      client: fc.constantFrom("a", "b"),
      n: fc.integer({ min: 1, max: 40 }),
    });
    fc.assert(
      fc.property(fc.array(call, { maxLength: 60 }), (calls) => {
        const done = new Set<string>();
        let askers: Askers = {};
        for (const { client, n } of calls) {
          expect(wasHandled(askers, by(client, n))).toBe(done.has(`${client}${n}`));
          askers = addHandled(askers, by(client, n), 0);
          done.add(`${client}${n}`);
        }
      }),
    );
  });

  test("is one range for a client without gaps, and nothing below what is over for it", () => {
    let askers: Askers = {};
    for (let n = 1; n <= 1_000; n += 1) askers = addHandled(askers, by("a", n), 0);
    expect(askers).toEqual({ a: { settled: 0, handled: [[1, 1_000]], at: 0 } });
    askers = addHandled(askers, by("a", 1_002, 1_000), 5);
    expect(askers).toEqual({ a: { settled: 1_000, handled: [[1_002, 1_002]], at: 5 } });
    expect(wasHandled(askers, by("a", 1_001))).toBe(false);
  });

  test("is bounded: gaps are closed on the safe side, silent clients go", () => {
    let askers: Askers = {};
    for (let n = 2; n <= 400; n += 2) askers = addHandled(askers, by("a", n), 0);
    expect(askers["a"]?.handled.length).toBeLessThanOrEqual(64);
    for (let n = 2; n <= 400; n += 2) expect(wasHandled(askers, by("a", n))).toBe(true);
    for (let n = 0; n < 1_000; n += 1) askers = addHandled(askers, by(`c${n}`, 1), n);
    expect(Object.keys(askers).length).toBeLessThanOrEqual(256);
    expect(askers["c999"]).toBeDefined();
    expect(Object.keys(addHandled(askers, by("z", 1), 1_000_000))).toEqual(["z"]);
  });
});

test("a client's numbers for one actor have no gaps, never come twice, and say what is over", () => {
  const numbers = new AskNumbers();
  const first = numbers.begin("x");
  const second = numbers.begin("x");
  expect([first.isAlone, second.isAlone]).toEqual([true, false]);
  expect(second.n).toBe(first.n + 1);
  numbers.end("x", first.n);
  expect(numbers.begin("x").settled).toBe(first.n);
  const highest = first.n + 2;
  for (let n = 0; n < 10_001; n += 1) numbers.end(`y${n}`, numbers.begin(`y${n}`).n);
  expect(numbers.begin("x").n).toBeGreaterThan(highest);
});

/** One host, whose incoming asks and outgoing answers a test may lose or keep back. */
async function rig(
  meddle: (incoming: Incoming, pass: (one: Incoming) => void) => void | Promise<void>,
  onStep?: OnStep,
) {
  const broker = new MemoryBroker({ clock: systemClock, partitions: 1 });
  const inner = connectMemory(broker);
  const transport: Transport = {
    ...inner,
    bus: {
      ...inner.bus,
      serve: (subject, queue, handle) =>
        inner.bus.serve(subject, queue, (incoming) => {
          if (subject.startsWith("berth.ask.")) void meddle(incoming, handle);
          else handle(incoming);
        }),
    },
  };
  const host = partitionHost({
    transport,
    definitions: [probe()],
    epoch: 1,
    ...(onStep ? { onStep } : {}),
  });
  await host.open();
  const client = actorClient({ transport: connectMemory(broker), clock: systemClock });
  return { host, inner, at: client.actor(Probe, "acme", "a") };
}

describe("a tell", () => {
  test("that is stored twice, because its acknowledgement was lost, is handled once", async () => {
    const broker = new MemoryBroker({ clock: systemClock, partitions: 1 });
    const host = partitionHost({
      transport: connectMemory(broker),
      definitions: [probe()],
      epoch: 1,
    });
    await host.open();
    const inner = connectMemory(broker);
    const lost = new Set<string>();
    /** Stores everything twice, under an id that the broker has forgotten, and loses the first acknowledgement. */
    const forgetful: Transport = {
      ...inner,
      mailboxes: {
        ...inner.mailboxes,
        async send(ref, lane, envelope) {
          if (lost.has(envelope.id)) return inner.mailboxes.send(ref, lane, envelope);
          lost.add(envelope.id);
          await inner.mailboxes.send(ref, lane, { ...envelope, id: `${envelope.id}-forgotten` });
          throw new BerthError("broker.unavailable");
        },
      },
    };
    const client = actorClient({ transport: forgetful, clock: systemClock });
    const at = client.actor(Probe, "acme", "a");
    await at.later({ text: "background" });
    for (const text of ["1", "2", "3"]) await at.hear({ text });
    await at.urgent({ text: "control" });
    const heard = async () => (await at.read({})).heard;
    await eventually(async () => (await heard()).length >= 5, { name: "all are handled" });
    await eventually(() => broker.mail.every((mail) => mail.length === 0), {
      name: "all is acked",
    });
    expect([...(await heard())].toSorted()).toEqual(["1", "2", "3", "background", "control"]);
    await host.close();
  });

  describe("whose acknowledgement was lost, and that finds the mailbox full when it is sent again (C4)", () => {
    /** Who sends: what was stored is not acknowledged, and is what fills the mailbox for so many sendings more. */
    const sender = (full: number) => {
      let sendings = 0;
      const inner = connectMemory(new MemoryBroker({ clock: systemClock, partitions: 1 }));
      const transport: Transport = {
        ...inner,
        mailboxes: {
          ...inner.mailboxes,
          async send(ref, lane, envelope) {
            sendings += 1;
            if (sendings > 1 && sendings <= full + 1) throw new BerthError("actor.mailbox_full");
            const seq = await inner.mailboxes.send(ref, lane, envelope);
            if (sendings === 1) throw new BerthError("broker.unavailable");
            return seq;
          },
        },
      };
      const at = actorClient({ transport, clock: systemClock }).actor(Probe, "acme", "a");
      return { at, sendings: () => sendings };
    };

    test("is not told that it was refused, but sent until the broker knows it", async () => {
      const { at, sendings } = sender(2);
      await at.hear({ text: "x" });
      expect(sendings()).toBe(4);
    });

    test("is told, when its time is over, that nobody knows", async () => {
      const { at } = sender(1_000);
      const told = at.hear({ text: "x" }, { timeoutMs: 200 });
      await expect(told).rejects.toMatchObject({ code: "broker.unavailable" });
    });
  });
});

describe("an ask", () => {
  test("that is lost on its way is sent again and answered", async () => {
    let arrived = 0;
    const { at, host } = await rig((incoming, pass) => {
      arrived += 1;
      if (arrived > 2) pass(incoming);
    });
    expect(await at.add({ n: 1 }, { timeoutMs: 8_000 })).toEqual({ total: 1 });
    expect(arrived).toBe(3);
    await host.close();
  });

  test("whose answer is lost is not handled again; its caller is told that it was handled", async () => {
    let isLossy = true;
    const { at, host } = await rig((incoming, pass) =>
      pass({
        ...incoming,
        reply: (answer) => {
          if (!isLossy) incoming.reply(answer);
          isLossy = false;
        },
      }),
    );
    await expect(at.add({ n: 1 }, { timeoutMs: 8_000 })).rejects.toMatchObject({
      code: "ask.timeout",
      message: expect.stringContaining("was handled") as string,
    });
    expect(await at.read({})).toMatchObject({ total: 1 });
    await host.close();
  });

  test("that was sent again, and whose answer then was lost, is answered from memory and handled once", async () => {
    let arrived = 0;
    const { at, host } = await rig((incoming, pass) => {
      arrived += 1;
      if (arrived === 2) pass({ ...incoming, reply: () => {} });
      else if (arrived > 2) pass(incoming);
    });
    expect(await at.add({ n: 1 }, { timeoutMs: 8_000 })).toEqual({ total: 1 });
    expect(arrived).toBe(3);
    expect(await at.read({})).toMatchObject({ total: 1 });
    await host.close();
  });

  test("that overtakes its own first sending is handled once, though the first comes after it", async () => {
    const kept: (() => void)[] = [];
    const { at, host } = await rig((incoming, pass) => {
      if (kept.length === 0) kept.push(() => pass(incoming));
      else pass(incoming);
    });
    expect(await at.add({ n: 1 }, { timeoutMs: 8_000 })).toEqual({ total: 1 });
    for (const late of kept) late();
    expect(await at.add({ n: 1 })).toEqual({ total: 2 });
    await host.close();
  });

  test("that changes nothing is remembered when it was sent again", async () => {
    const kept: (() => void)[] = [];
    const { at, host, inner } = await rig((incoming, pass) => {
      if (kept.length === 0) kept.push(() => pass(incoming));
      else pass(incoming);
    });
    expect(await at.add({ n: 0 }, { timeoutMs: 8_000 })).toEqual({ total: 0 });
    const found = await inner.records.load({ kind: "probe", tenant: "acme", key: "a" }, false);
    const [asker] = Object.values(decodeRecord(found!.data).askers ?? {});
    expect(asker?.handled).toHaveLength(1);
    await host.close();
  });

  test("that is sent again while its turn runs is one ask, and each sending gets its answer", async () => {
    const answered: number[] = [];
    let sent = 0;
    const twice = deferred();
    const { at, host } = await rig(
      (incoming, pass) => {
        sent += 1;
        const nth = sent;
        if (nth === 3) twice.resolve();
        const reply = (answer: Uint8Array) => {
          answered.push(nth);
          incoming.reply(answer);
        };
        pass({ ...incoming, reply });
      },
      (step) => (step === "handled" ? twice.promise : undefined),
    );
    expect(await at.add({ n: 1 }, { timeoutMs: 8_000 })).toEqual({ total: 1 });
    expect(answered).toEqual([1, 2, 3]);
    expect(await at.read({})).toMatchObject({ total: 1 });
    await host.close();
  });

  test("that was refused stays refused, though another sending of it comes when there is room", async () => {
    const kept: (() => void)[] = [];
    const { at, host } = await rig((incoming, pass) => {
      // The second sending is under way for longer than the first one's answer.
      if (kept.length === 0) kept.push(() => pass(incoming));
      else if (kept.length === 1) {
        const [first] = kept;
        kept.push(() => pass(incoming));
        first?.();
      } else pass(incoming);
    });
    await at.park({ code: "test", message: "for a while" });
    await expect(at.add({ n: 1 }, { timeoutMs: 8_000 })).rejects.toMatchObject({
      code: "actor.parked",
    });
    await at.unpark({});
    await at.hear({ text: "active" });
    await eventually(async () => (await at.read({})).heard.includes("active"), { name: "active" });
    kept[1]?.();
    expect(await at.add({ n: 10 })).toEqual({ total: 10 });
    await host.close();
  });

  test("that was handled and is refused when it is sent again is not told as if it had not happened", async () => {
    let arrived = 0;
    const { at, host } = await rig((incoming, pass) => {
      arrived += 1;
      if (arrived === 1) pass({ ...incoming, reply: () => {} });
      else if (arrived < 4) incoming.reply(encodeError(new BerthError("actor.moved")));
      else incoming.reply(encodeError(new BerthError("actor.overloaded")));
    });
    await expect(at.add({ n: 1 }, { timeoutMs: 2_000 })).rejects.toMatchObject({
      code: "ask.timeout",
      message: expect.stringContaining("too many asks") as string,
    });
    // Sent until its time was over: somebody might have been sure.
    expect(arrived).toBeGreaterThan(4);
    await host.close();
  });

  test("that was sent again and is refused by who is sure is told so at once", async () => {
    let arrived = 0;
    const { at, host } = await rig((incoming) => {
      arrived += 1;
      if (arrived === 1) return; // It is lost.
      const isSure = arrived > 2;
      incoming.reply(encodeError(new BerthError("actor.overloaded"), isSure));
    });
    await expect(at.add({ n: 1 }, { timeoutMs: 30_000 })).rejects.toMatchObject({
      code: "actor.overloaded",
    });
    expect(arrived).toBe(3);
    await host.close();
  });

  test("that nobody takes until its time is over is told so, as long as it was sent once at a time", async () => {
    const { at, host } = await rig((incoming) =>
      incoming.reply(encodeError(new BerthError("actor.moved"))),
    );
    await expect(at.add({ n: 1 }, { timeoutMs: 300 })).rejects.toMatchObject({
      code: "actor.moved",
    });
    await host.close();
  });

  test("that was handled before its actor was parked is told that, not that the actor is parked", async () => {
    let arrived = 0;
    const { at, host } = await rig(async (incoming, pass) => {
      arrived += 1;
      if (arrived === 1) pass({ ...incoming, reply: () => {} });
      else if (arrived > 2) pass(incoming);
      else {
        await at.park({ code: "test", message: "for a while" });
        await eventually(async () => (await at.read({})).heard.includes("parked"), {
          name: "parked",
        });
        pass(incoming);
      }
    });
    await expect(at.add({ n: 1 }, { timeoutMs: 8_000 })).rejects.toMatchObject({
      code: "ask.timeout",
      message: expect.stringContaining("was handled") as string,
    });
    await host.close();
  });
});
