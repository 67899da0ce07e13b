/** R4 and R7 of one lane: order is kept and memory is bounded, whatever is delivered again, put back or read again. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Lane, type MailItem } from "../../../runtime/lane.ts";
import type { Mail } from "../../../runtime/transport.ts";

const mail = (seq: number, size = 1): Mail => ({
  ref: { kind: "probe", tenant: "acme", key: "a" },
  seq,
  lane: "user",
  envelope: { id: `${seq}`, type: "hear", payload: {}, sentAt: 1 },
  size,
  storedAt: 1,
  ack() {},
});

const seqs = (items: readonly MailItem[]) => items.map((item) => item.mail.seq);

/** An actor's side of a lane: handles in order, drops what it has handled, puts back what it does not get to. */
class Owner {
  readonly handled: number[] = [];
  readonly lane = new Lane();
  readonly #gone: ReadonlySet<number>;

  constructor(gone: Iterable<number> = []) {
    this.#gone = new Set(gone);
  }

  work(take: number, handle: number): void {
    const taken = this.lane.take(take, 0);
    for (const { mail: one } of taken.slice(0, handle)) {
      if (one.seq > (this.handled.at(-1) ?? 0)) this.handled.push(one.seq);
    }
    for (const item of taken.slice(handle)) this.lane.putBack(item);
  }

  read(upTo: number): void {
    const wanted = this.lane.wanted().slice(0, upTo);
    const found = wanted.filter((seq) => !this.#gone.has(seq)).map((seq) => mail(seq));
    this.lane.takeIn({ found, gone: wanted.filter((seq) => this.#gone.has(seq)) });
  }

  finish(): void {
    for (let n = 0; this.lane.size > 0 && n < 10_000; n += 1) {
      this.work(64, 64);
      this.read(1_000);
    }
  }
}

describe("a lane", () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant("deliver" as const), n: fc.integer({ min: 1, max: 90 }) }),
    fc.record({ do: fc.constant("again" as const), n: fc.integer({ min: 1, max: 400 }) }),
    fc.record({ do: fc.constant("work" as const), n: fc.integer({ min: 0, max: 64 }) }),
    fc.record({ do: fc.constant("read" as const), n: fc.integer({ min: 0, max: 128 }) }),
  );

  test("hands out everything once and in order, over stubs, redeliveries and failures (L1 to L3)", () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 60 }),
        fc.func(fc.boolean()),
        fc.array(fc.integer({ min: 1, max: 300 })),
        (steps, keeps, gone) => {
          const owner = new Owner(gone);
          let delivered = 0;
          for (const { do: what, n } of steps) {
            if (what === "deliver") {
              for (let i = 0; i < n; i += 1) {
                delivered += 1;
                owner.lane.push(mail(delivered), keeps(delivered));
              }
            } else if (what === "again" && n <= delivered) owner.lane.push(mail(n), keeps(n));
            else if (what === "work") owner.work(64, n);
            else if (what === "read") owner.read(n);
          }
          owner.finish();
          const all = Array.from({ length: delivered }, (_, i) => i + 1);
          const lost = all.filter((seq) => !owner.handled.includes(seq));
          expect(owner.handled).toEqual(owner.handled.toSorted((a, b) => a - b));
          expect(lost.every((seq) => gone.includes(seq))).toBe(true);
        },
      ),
      { numRuns: 300 },
    );
  });

  test("keeps 128 bodies of a flood, and of the rest a number each (R7)", () => {
    const lane = new Lane();
    for (let seq = 1; seq <= 10_000; seq += 1) lane.push(mail(seq, 100), true);
    expect(lane.size).toBe(10_000);
    expect(lane.stubs).toBe(10_000 - 128);
    expect(lane.bytes).toBe(128 * 100);
  });

  test("keeps few bodies that are large, and none where the node has no room (R7)", () => {
    const large = new Lane();
    for (let seq = 1; seq <= 100; seq += 1) large.push(mail(seq, 300_000), true);
    expect(large.size - large.stubs).toBe(4);
    const none = new Lane();
    for (let seq = 1; seq <= 100; seq += 1) none.push(mail(seq), false);
    expect(none.bytes).toBe(0);
    none.takeIn({ found: none.wanted().map((seq) => mail(seq, 5_000_000)), gone: [] });
    expect(none.size - none.stubs).toBe(1);
  });

  test("holds a message once that is delivered again while it is being handled (L2, L3)", () => {
    const lane = new Lane();
    for (const seq of [1, 2]) lane.push(mail(seq), true);
    const taken = lane.take(2, 0);
    lane.push(mail(2), false);
    lane.push(mail(3), false);
    for (const item of taken) lane.putBack(item);
    expect(lane.size).toBe(3);
    expect(seqs(lane.take(9, 0))).toEqual([1, 2]);
    expect(lane.wanted()).toEqual([3]);
  });

  test("never hands out what comes behind a message that cannot be told (L3)", () => {
    const lane = new Lane();
    for (const seq of [1, 2, 3, 4]) lane.push(mail(seq), false);
    lane.takeIn({ found: [mail(1), mail(3), mail(4)], gone: [] });
    expect(seqs(lane.take(10, 0))).toEqual([1]);
    lane.takeIn({ found: [mail(3), mail(4)], gone: [2] });
    expect(seqs(lane.take(10, 0))).toEqual([3, 4]);
    expect(lane.size).toBe(0);
  });
});
