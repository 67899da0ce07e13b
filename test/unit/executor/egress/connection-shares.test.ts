import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ConnectionShares } from "../../../../executor/egress/connection-shares.ts";
import { decideConnection } from "../../../../executor/egress/decide-connection.ts";

/** Takes as many as it gets, up to `most`; how many. */
function takeAll(shares: ConnectionShares, owner: string, most = 10_000): number {
  let taken = 0;
  while (taken < most && shares.tryTake(owner)) taken += 1;
  return taken;
}

describe("the shares of the proxy's connections", () => {
  test("leave most to the others when one tenant's workers take all they can", () => {
    const shares = new ConnectionShares(4_096);
    expect(takeAll(shares, "greedy", 32 * 128)).toBe(1_024);
    expect(takeAll(shares, "second", 128)).toBe(128);
    expect(shares.tryTake("greedy")).toBe(false);
  });

  test.each([
    [1, 128],
    [2, 128],
    [12, 40],
    [40, 16],
    [100, 2],
  ])("of which %i tenants take all they can leave another one %i at least", (greedy, least) => {
    const shares = new ConnectionShares(4_096);
    for (let n = 0; n < greedy; n += 1) takeAll(shares, `greedy ${n}`);
    expect(takeAll(shares, "another", 128)).toBeGreaterThanOrEqual(least);
  });

  test("leave a thirteenth its part whatever twelve take and give back, in whatever order", () => {
    const owner = fc.integer({ min: 1, max: 12 });
    const steps = fc.array(fc.tuple(owner, fc.integer({ min: -300, max: 2_000 })), {
      maxLength: 150,
    });
    fc.assert(
      fc.property(fc.integer({ min: 256, max: 4_096 }), steps, (total, all) => {
        const shares = new ConnectionShares(total);
        const held = new Map<number, number>();
        for (const [who, change] of all) {
          const own = held.get(who) ?? 0;
          const taken = takeAll(shares, `${who}`, Math.max(0, change));
          const given = Math.min(own, Math.max(0, -change));
          for (let n = 0; n < given; n += 1) shares.giveBack(`${who}`);
          held.set(who, own + taken - given);
          expect(shares.taken).toBe([...held.values()].reduce((sum, one) => sum + one, 0));
          expect(shares.taken).toBeLessThanOrEqual(total);
        }
        expect(takeAll(shares, "thirteenth")).toBeGreaterThanOrEqual(Math.floor(total / 128));
      }),
    );
  });

  test("are never decided past the total, and one who has none gets one while one is free", () => {
    fc.assert(
      fc.property(fc.nat(5_000), fc.nat(5_000), fc.nat(5_000), (total, taken, own) => {
        expect(decideConnection({ total, taken, own: 0 })).toBe(taken < total);
        if (decideConnection({ total, taken, own })) {
          expect(taken).toBeLessThan(total);
          expect(own).toBeLessThan(total - taken);
        }
      }),
    );
  });

  test("are as they were when all is given back", () => {
    const shares = new ConnectionShares(10);
    for (const owner of ["a", "b"]) {
      const taken = takeAll(shares, owner);
      expect(taken).toBe(3);
      for (let n = 0; n < taken; n += 1) shares.giveBack(owner);
      expect(shares.taken).toBe(0);
    }
    expect(takeAll(new ConnectionShares(0), "a")).toBe(0);
    expect(takeAll(new ConnectionShares(1), "a")).toBe(1);
  });
});
