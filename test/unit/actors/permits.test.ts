import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { actorOptions } from "../../../actors/options.ts";
import { decidePermits, type PermitWindow } from "../../../actors/user/decide-permits.ts";
import { userActor } from "../../../actors/user/user.ts";
import { tierTable } from "../../../protocols/tiers.ts";
import { turnRig } from "../../support/turn.ts";

const windowMs = 60_000;
const none: PermitWindow = { opened_at: null, given: 0 };

describe("permits", () => {
  it("are never more than the limit in one window, and all of it when it is asked for", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 100_000 }),
        fc.array(fc.integer({ min: 0, max: 20_000 }), { maxLength: 200 }),
        (limit, pauses) => {
          let now = 1;
          let window = none;
          const given = new Map<number, number>();
          for (const pause of pauses) {
            now += pause;
            const block = decidePermits(window, now, { limit, windowMs });
            window = block.window;
            const opened = window.opened_at!;
            const before = given.get(opened) ?? 0;
            given.set(opened, before + block.granted);
            expect(block.resetMs).toBeGreaterThan(0);
            expect(block.remaining).toBe(limit - given.get(opened)!);
            expect(block.granted === 0).toBe(block.remaining === 0 && before === limit);
          }
          for (const count of given.values()) expect(count).toBeLessThanOrEqual(limit);
        },
      ),
    );
  });

  it.each([1, 7, 100, 1_200, 60_000])("of a limit of %i take few asks", (limit) => {
    let window = none;
    let asks = 0;
    let given = 0;
    while (given < limit) {
      const block = decidePermits(window, 1, { limit, windowMs });
      window = block.window;
      given += block.granted;
      asks += 1;
    }
    expect(given).toBe(limit);
    expect(asks).toBeLessThan(60);
  });

  it("of a user are in its record, and come again with the next window", () => {
    const tiers = tierTable({ pro: { requestsPerMinute: 40 } });
    const self = { kind: "user", tenant: "acme", key: "ann" };
    const rig = turnRig(userActor(actorOptions({ tiers })), self);
    const ask = () =>
      rig.turn("permits", { tier: "pro" }).reply as { granted: number; remaining: number };
    let given = 0;
    for (let n = 0; n < 60; n += 1) given += ask().granted;
    expect(given).toBe(40);
    expect(ask()).toMatchObject({ granted: 0, remaining: 0, limit: 40 });
    const { limits } = rig.turn("limits", { tier: "pro" }).reply as { limits: object };
    expect(limits).toMatchObject({ requests: { limit: 40, remaining: 0 } });
    rig.now += windowMs;
    expect(ask()).toMatchObject({ granted: 2, remaining: 38 });
  });
});
