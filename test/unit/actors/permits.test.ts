import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { actorOptions } from "../../../actors/options.ts";
import {
  decidePermits,
  type PermitLedger,
  permitsAt,
} from "../../../actors/user/decide-permits.ts";
import { userActor } from "../../../actors/user/user.ts";
import type { EndedBlock } from "../../../protocols/actors/user.ts";
import { tierTable } from "../../../protocols/tiers.ts";
import { turnRig } from "../../support/turn.ts";

const windowMs = 60_000;
const none: PermitLedger = { next: 1, open: [], counted: [] };

/** Asks until there is nothing more, and says of each block that it was used up at once. */
function takeAll(limit: number, now = 1, from: PermitLedger = none) {
  let [asks, given, ledger] = [0, 0, from];
  let ended: EndedBlock[] = [];
  for (;;) {
    const block = decidePermits(ledger, { now, ended }, { limit, windowMs });
    asks += 1;
    ledger = block.ledger;
    if (block.granted === 0) return { asks, given, ledger, last: block };
    given += block.granted;
    ended = [{ block: block.block, used: block.granted, ago_ms: 0 }];
  }
}

describe("permits", () => {
  it.each([1, 7, 100, 1_200, 60_000])("of a limit of %i are all given out in few asks", (limit) => {
    const { asks, given } = takeAll(limit);
    expect(given).toBe(limit);
    expect(asks).toBeLessThan(60);
  });

  it("are free again a window after they were used, not at a window's edge (P1)", () => {
    const early = takeAll(1_200, 1_000).ledger;
    const at = (now: number) => permitsAt(early, now, { limit: 1_200, windowMs });
    expect(at(60_999)).toMatchObject({ remaining: 0 });
    expect(at(61_002)).toEqual({ remaining: 1_200, freesMs: 0 });

    const half = decidePermits(none, { now: 1_000, ended: [] }, { limit: 20, windowMs });
    const rest = takeAll(20, 59_000, half.ledger);
    expect(rest.given).toBe(19);
    expect(takeAll(20, 62_000, rest.ledger).given).toBe(0);
    expect(takeAll(20, 119_002, rest.ledger).given).toBe(20);
  });

  it("of a block that nobody speaks of again count until none of it can be as new as a window (P1)", () => {
    const block = decidePermits(none, { now: 1_000, ended: [] }, { limit: 1_200, windowMs });
    expect(block).toMatchObject({ granted: 60, remaining: 1_140, goodMs: 59_000 });
    const left = (now: number) =>
      permitsAt(block.ledger, now, { limit: 1_200, windowMs }).remaining;
    expect([left(120_000), left(120_002)]).toEqual([1_140, 1_200]);
  });

  it("that were not used come back when their gateway says so, once", () => {
    const limits = { limit: 1_200, windowMs };
    const first = decidePermits(none, { now: 1_000, ended: [] }, limits);
    const ended = [{ block: first.block, used: 3, ago_ms: 500 }];
    const second = decidePermits(first.ledger, { now: 2_000, ended }, limits);
    expect(second.granted + second.remaining).toBe(1_197);
    const again = decidePermits(second.ledger, { now: 2_000, ended }, limits);
    expect(again.granted + again.remaining).toBe(1_197 - second.granted);
    expect(permitsAt(again.ledger, 61_502, limits).remaining).toBe(
      1_200 - second.granted - again.granted,
    );
  });

  it("that were used close together count until the last of them is a window old (P1)", () => {
    const limits = { limit: 10, windowMs };
    let ledger: PermitLedger = none;
    const lastUses = [100, 1_100];
    for (const ago_ms of lastUses) {
      const block = decidePermits(ledger, { now: 4_000, ended: [] }, limits);
      const ended = [{ block: block.block, used: 1, ago_ms }];
      // The block that this gives is said to be unused with the next.
      const next = decidePermits(block.ledger, { now: 4_000, ended }, limits);
      const unused = [{ block: next.block, used: 0, ago_ms: 0 }];
      ({ ledger } = decidePermits(next.ledger, { now: 4_000, ended: unused }, limits));
      ledger = { ...ledger, open: [] };
    }
    expect(permitsAt(ledger, 63_900, limits).remaining).toBe(8);
    expect(permitsAt(ledger, 63_901, limits).remaining).toBe(10);
  });

  it("leave a small record, whatever is asked and never heard of again", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 100_000 }),
        fc.array(fc.tuple(fc.integer({ min: 0, max: 9_000 }), fc.boolean()), { maxLength: 400 }),
        (limit, asks) => {
          let [now, ledger, ended] = [1, none, [] as EndedBlock[]];
          for (const [pause, isSaid] of asks) {
            now += pause;
            const block = decidePermits(ledger, { now, ended }, { limit, windowMs });
            ledger = block.ledger;
            ended = isSaid ? [{ block: block.block, used: block.granted, ago_ms: 0 }] : [];
            expect(ledger.open.length + ledger.counted.length).toBeLessThan(160);
            expect(block.granted + block.remaining).toBeLessThanOrEqual(limit);
            expect(block.granted === 0).toBe(block.granted + block.remaining === 0);
            expect(block.freesMs).toBeGreaterThan(0);
          }
        },
      ),
    );
  });

  it("of a user are in its record, and come again a window later", () => {
    const tiers = tierTable({ pro: { requestsPerMinute: 40 } });
    const self = { kind: "user", tenant: "acme", key: "ann" };
    const rig = turnRig(userActor(actorOptions({ tiers })), self);
    let ended: EndedBlock[] = [];
    const ask = () => {
      const given = rig.turn("permits", { tier: "pro", ended }).reply as {
        granted: number;
        window: number;
      };
      ended = [{ block: given.window, used: given.granted, ago_ms: 0 }];
      return given;
    };
    let given = 0;
    for (let n = 0; n < 60; n += 1) given += ask().granted;
    expect(given).toBe(40);
    expect(ask()).toMatchObject({ granted: 0, remaining: 0, limit: 40 });
    const { limits } = rig.turn("limits", { tier: "pro" }).reply as { limits: object };
    expect(limits).toMatchObject({ requests: { limit: 40, remaining: 0 } });
    rig.now += windowMs;
    expect(ask()).toMatchObject({ granted: 0, reset_ms: 1_000 });
    rig.now += 1;
    expect(ask()).toMatchObject({ granted: 2, remaining: 38, window_ms: windowMs });
  });
});
