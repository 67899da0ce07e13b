/** Processes that stop, connections that break and messages that are lost, as tests and the simulator make them. */
import { describe, expect, test } from "vitest";
import { MemoryBroker } from "../../../../runtime/memory/broker.ts";
import { connectMemory } from "../../../../runtime/memory/transport.ts";
import type { Fate, Passage } from "../../../../runtime/testkit/faults.ts";
import { faultyTransport } from "../../../../runtime/testkit/faulty-transport.ts";
import { ManualClock } from "../../../../runtime/testkit/manual-clock.ts";
import { TestProcess } from "../../../../runtime/testkit/process.ts";

const A = { kind: "probe", tenant: "acme", key: "a" };
const STATE = new Uint8Array([1]);
const COMMIT = { expected: 0, journaled: false, pending: false } as const;
const envelope = (id: string, more = {}) => ({ id, type: "hear", payload: {}, sentAt: 0, ...more });

function rig(fate: (passage: Passage) => Partial<Fate> = () => ({})) {
  const clock = new ManualClock(0);
  const broker = new MemoryBroker({ clock, partitions: 1 });
  const connect = (name: string) => {
    const process = new TestProcess(name, clock);
    const faults = { fate: (passage: Passage) => ({ delayMs: 1, ...fate(passage) }) };
    const transport = faultyTransport(connectMemory(broker), { clock, process, faults });
    return { process, transport };
  };
  return { clock, broker, connect, ...connect("p") };
}

/** What a promise has come to, without waiting for it. */
function watched<T>(promise: Promise<T>) {
  const seen: { outcome: unknown } = { outcome: "open" };
  promise.then(
    (value) => Object.assign(seen, { outcome: value }),
    (thrown: { code?: string }) => Object.assign(seen, { outcome: thrown.code }),
  );
  return seen;
}

describe("a paused process", () => {
  test("runs nothing; then timers that came due go first and the network after them, each in order", async () => {
    const clock = new ManualClock(0);
    const process = new TestProcess("p", clock);
    const inside = process.clock();
    const seen: string[] = [];
    inside.after(20, () => seen.push("timer 20"));
    inside.after(10, () => seen.push("timer 10"));
    process.pause();
    clock.after(5, () => process.enter(() => seen.push("message 5")));
    clock.after(15, () => process.enter(() => seen.push("message 15")));
    await clock.advance(30);
    expect(seen).toEqual([]);
    process.resume();
    process.enter(() => seen.push("message 30"));
    await clock.advance(0);
    expect(seen).toEqual(["timer 10", "timer 20", "message 5", "message 15", "message 30"]);
  });

  test("has cancelled timers cancelled, and may be paused again before it has caught up", async () => {
    const clock = new ManualClock(0);
    const process = new TestProcess("p", clock);
    const inside = process.clock();
    const seen: string[] = [];
    const cancel = inside.after(1, () => seen.push("cancelled"));
    inside.after(2, () => {
      seen.push("first");
      cancel();
      process.pause();
    });
    process.enter(() => seen.push("before"));
    process.pause();
    process.enter(() => seen.push("second"));
    await clock.advance(5);
    cancel();
    process.resume();
    await clock.advance(1);
    expect(seen).toEqual(["before", "first"]);
    process.resume();
    await clock.advance(1);
    expect(seen).toEqual(["before", "first", "second"]);
  });
});

describe("an ended process", () => {
  test("never runs again, and what it had sent arrives", async () => {
    const { broker, clock, process, transport } = rig();
    const sent = watched(transport.mailboxes.send(A, "user", envelope("m1")));
    process.end();
    void transport.mailboxes.send(A, "user", envelope("m2"));
    await clock.advance(10_000);
    expect(sent.outcome).toBe("open");
    expect(broker.mail[0]!.map(({ envelope }) => (envelope as { id: string }).id)).toEqual(["m1"]);
  });
});

describe("a lost message", () => {
  test("never happened when the question is lost, and did when the answer is", async () => {
    for (const [direction, stored] of [
      ["out", undefined],
      ["in", 1],
    ] as const) {
      const { broker, clock, transport } = rig((passage) => ({
        lost: passage.what === "records.commit" && passage.direction === direction,
      }));
      const commit = watched(transport.records.commit(A, STATE, COMMIT));
      await clock.advance(5_000);
      expect(commit.outcome).toBe("broker.unavailable");
      expect(broker.pages.get(broker.key(A, false))?.length).toBe(stored);
    }
  });

  test("was refused and not stored when the broker says so", async () => {
    const { broker, clock, transport } = rig(({ what }) => ({
      refused: what === "mailboxes.send",
    }));
    const sent = watched(transport.mailboxes.send(A, "user", envelope("m1")));
    await clock.advance(10);
    expect(sent.outcome).toBe("broker.unavailable");
    expect(broker.mail[0]).toEqual([]);
  });

  test("is stored twice, outside the duplicate window, only when its receiver can tell", async () => {
    const { broker, clock, transport } = rig(({ what, direction }) =>
      what === "mailboxes.send" && direction === "out" ? { againMs: 5 } : {},
    );
    void transport.mailboxes.send(A, "user", envelope("client's"));
    void transport.mailboxes.send(A, "user", envelope("actor's", { from: A, nth: 1 }));
    await clock.advance(50);
    expect(broker.mail[0]!.map(({ envelope }) => (envelope as { id: string }).id)).toEqual([
      "client's",
      "actor's",
      "actor's~again",
    ]);
  });
});

describe("a connection", () => {
  test("that is cut holds messages back and delivers them in order when it is mended", async () => {
    const { broker, clock, transport } = rig();
    transport.link.cut();
    const sent = ["m1", "m2", "m3"].map((id) =>
      watched(transport.mailboxes.send(A, "user", envelope(id))),
    );
    await clock.advance(1_000);
    expect(broker.mail[0]).toEqual([]);
    transport.link.mend();
    await clock.advance(10);
    expect(broker.mail[0]!.map(({ envelope }) => (envelope as { id: string }).id)).toEqual([
      "m1",
      "m2",
      "m3",
    ]);
    expect(sent.map(({ outcome }) => outcome)).toEqual([1, 2, 3]);
  });

  test("that is cut one way still carries the other: what is asked happens, and nobody hears of it", async () => {
    const { broker, clock, transport } = rig();
    transport.link.cut(["in"]);
    const sent = watched(transport.mailboxes.send(A, "user", envelope("m1")));
    await clock.advance(4_000);
    expect(broker.mail[0]!.length).toBe(1);
    expect(sent.outcome).toBe("broker.unavailable");
  });

  test("that breaks takes what is on its way, tells calls at once, and comes back with its subscriptions", async () => {
    const { broker, clock, connect, transport } = rig();
    const back: string[] = [];
    transport.onReconnect(() => back.push("back"));
    transport.bus.serve("echo", undefined, (incoming) => incoming.reply(incoming.data));
    await clock.advance(10);
    const asker = connect("asker").transport;
    const sent = watched(transport.mailboxes.send(A, "user", envelope("m1")));
    transport.link.reset();
    const moved = watched(asker.bus.request("echo", STATE, 1_000));
    await clock.advance(100);
    expect([sent.outcome, moved.outcome, back]).toEqual(["broker.unavailable", "actor.moved", []]);
    expect(broker.mail[0]).toEqual([]);
    await clock.advance(500);
    const answered = watched(asker.bus.request("echo", STATE, 1_000));
    await clock.advance(10);
    expect([back, answered.outcome]).toEqual([["back"], STATE]);
  });

  test("that is cut for too long breaks, and its watch tells what changed meanwhile", async () => {
    const { clock, connect, transport } = rig();
    const seen: string[] = [];
    void transport.buckets.watch("nodes", ({ key, value }) =>
      seen.push(`${key} ${value ? "is there" : "is gone"}`),
    );
    const other = connect("other").transport;
    void other.buckets.put("nodes", "n1", STATE);
    await clock.advance(10);
    transport.link.cut();
    void other.buckets.remove("nodes", "n1");
    void other.buckets.put("nodes", "n2", STATE);
    await clock.advance(13_000);
    expect(seen).toEqual(["n1 is there"]);
    transport.link.mend();
    await clock.advance(500);
    expect(seen).toEqual(["n1 is there", "n1 is gone", "n2 is there"]);
  });
});

describe("delivered mail", () => {
  async function read(transport: ReturnType<typeof rig>["transport"], clock: ManualClock) {
    const ids: string[] = [];
    const state = { ids, ended: "" };
    const opening = transport.mailboxes.open(0);
    await clock.advance(10);
    const stream = await opening;
    const pump = async () => {
      for await (const mail of stream) ids.push((mail.envelope as { id: string }).id);
    };
    pump().catch((thrown: { code: string }) => {
      state.ended = thrown.code;
    });
    return state;
  }

  test("comes again when it is not acknowledged in time, or at once when the port says so", async () => {
    let isTwice = true;
    const { clock, transport } = rig(({ what }) => {
      if (what !== "mail" || !isTwice) return {};
      isTwice = false;
      return { againMs: 5 };
    });
    const seen = await read(transport, clock);
    void transport.mailboxes.send(A, "user", envelope("m1"));
    await clock.advance(100);
    expect(seen.ids).toEqual(["m1", "m1"]);
    await clock.advance(60_000);
    expect(seen.ids).toEqual(["m1", "m1", "m1"]);
  });

  test("behind one that was lost is not handed out: the stream ends instead", async () => {
    let lost = 0;
    const { clock, transport } = rig(({ what }) => {
      if (what !== "mail") return {};
      lost += 1;
      return { lost: lost === 2 };
    });
    const seen = await read(transport, clock);
    for (const id of ["m1", "m2", "m3"]) void transport.mailboxes.send(A, "user", envelope(id));
    await clock.advance(100);
    expect(seen).toEqual({ ids: ["m1"], ended: "broker.unavailable" });
  });
});
