/** What gateways let through together, step by step: asks and answers that come late, in any order, or never. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decidePermits, type PermitLedger } from "../../../actors/user/decide-permits.ts";
import { type Given, PermitPurse } from "../../../gateway/limits/permit-purse.ts";
import type { EndedBlock } from "../../../protocols/actors/user.ts";

const windowMs = 60_000;

interface Ask {
  readonly ended: EndedBlock[];
  readonly heard: () => void;
  readonly askedAt: number;
  given: Given | undefined;
}

/** A user's record, and gateways whose clocks began at different times. The record's clock tells whole milliseconds. */
class Scene {
  readonly limit: number;
  readonly accepted: number[] = [];
  asks = 0;
  #now = 1_000_000.25;
  #ledger: PermitLedger = { next: 1, open: [], counted: [] };
  readonly #purses: PermitPurse[];
  readonly #asks: (Ask | undefined)[] = [];
  /** Nobody waits for these any more; they may come all the same. */
  readonly #late: Ask[] = [];

  constructor(limit: number, gateways = 3) {
    this.limit = limit;
    this.#purses = Array.from({ length: gateways }, () => new PermitPurse(limit));
  }

  advance(ms: number): void {
    this.#now += ms;
  }

  /** Lets one through, or sends an ask if none is under way. */
  request(gateway: number): boolean {
    const purse = this.#purses[gateway]!;
    const now = this.#at(gateway);
    const standing = purse.take(now);
    if (standing) {
      this.accepted.push(this.#now);
      expect(standing.remaining).toBeLessThan(this.limit);
      expect(standing.resetMs).toBeGreaterThan(0);
      expect(standing.resetMs).toBeLessThanOrEqual(windowMs);
      if (purse.isLow) this.#send(gateway);
      return true;
    }
    if (purse.emptyForMs(now) === 0) this.#send(gateway);
    return false;
  }

  /** The ask comes to the actor. */
  handle(gateway: number): void {
    const ask = this.#asks[gateway];
    if (ask && !ask.given) ask.given = this.#decide(ask.ended);
  }

  answer(gateway: number): void {
    const ask = this.#asks[gateway];
    if (!ask?.given) return;
    this.#asks[gateway] = undefined;
    ask.heard();
    this.#purses[gateway]?.add(ask.given, ask.askedAt);
  }

  giveUp(gateway: number): void {
    const ask = this.#asks[gateway];
    this.#asks[gateway] = undefined;
    if (ask && !ask.given) this.#late.push(ask);
  }

  handleLate(): void {
    const ask = this.#late.shift();
    if (ask) this.#decide(ask.ended);
  }

  /** As often as it can be, all at once. */
  burst(gateway: number, most = Number.POSITIVE_INFINITY): number {
    let count = 0;
    while (count < most) {
      if (this.request(gateway)) count += 1;
      else if (this.#asks[gateway] === undefined) break;
      this.handle(gateway);
      this.answer(gateway);
    }
    return count;
  }

  emptyForMs(gateway: number): number {
    return this.#purses[gateway]?.emptyForMs(this.#at(gateway)) ?? 0;
  }

  /** The most that any interval of a window's length saw. */
  most(): number {
    let [first, most] = [0, 0];
    this.accepted.forEach((at, last) => {
      while (at - (this.accepted[first] ?? at) >= windowMs) first += 1;
      most = Math.max(most, last - first + 1);
    });
    return most;
  }

  #at(gateway: number): number {
    return this.#now + 900_000.7 * gateway;
  }

  #send(gateway: number): void {
    if (this.#asks[gateway]) return;
    const askedAt = this.#at(gateway);
    this.#asks[gateway] = {
      ...this.#purses[gateway]!.report(askedAt),
      askedAt,
      given: undefined,
    };
  }

  #decide(ended: EndedBlock[]): Given {
    this.asks += 1;
    const now = Math.floor(this.#now);
    const limits = { limit: this.limit, windowMs };
    const given = decidePermits(this.#ledger, { now, ended }, limits);
    this.#ledger = given.ledger;
    return {
      granted: given.granted,
      limit: this.limit,
      remaining: given.remaining,
      window: given.block,
      reset_ms: given.granted > 0 ? given.goodMs : given.freesMs,
      frees_ms: given.freesMs,
      window_ms: windowMs,
    };
  }
}

type Step = (scene: Scene) => void;
const gateway = fc.nat(2);
const aStep: fc.Arbitrary<Step> = fc.oneof(
  fc.double({ min: 0, max: 20_000, noNaN: true }).map(
    (ms): Step =>
      (to) =>
        to.advance(ms),
  ),
  fc.double({ min: 0, max: 50, noNaN: true }).map(
    (ms): Step =>
      (to) =>
        to.advance(ms),
  ),
  gateway.map(
    (at): Step =>
      (to) =>
        void to.request(at),
  ),
  fc.tuple(gateway, fc.nat(60)).map(
    ([at, n]): Step =>
      (to) =>
        void to.burst(at, n),
  ),
  gateway.map(
    (at): Step =>
      (to) =>
        to.handle(at),
  ),
  gateway.map(
    (at): Step =>
      (to) =>
        to.answer(at),
  ),
  gateway.map(
    (at): Step =>
      (to) =>
        to.giveUp(at),
  ),
  fc.constant<Step>((to) => to.handleLate()),
);

describe("a block of permits", () => {
  it("is used until its time is over, counted from before it was asked for, and the rest is said to be free (U1, U2)", () => {
    const purse = new PermitPurse(100);
    const given = { granted: 5, limit: 100, remaining: 95, window: 7, reset_ms: 4_000 };
    purse.add({ ...given, frees_ms: 64_000, window_ms: windowMs }, 1_000);
    expect(purse.take(4_999)).toEqual({ limit: 100, remaining: 99, resetMs: 60_000 });
    expect(purse.report(4_999).ended).toEqual([]);
    expect(purse.take(5_000)).toBeUndefined();
    const { ended, heard } = purse.report(5_000.5);
    expect(ended).toEqual([{ block: 7, used: 1, ago_ms: 1 }]);
    expect(purse.report(5_000.5).ended).toEqual(ended);
    heard();
    expect(purse.report(5_000.5).ended).toEqual([]);
  });
});

describe("three gateways", () => {
  it("let no interval of a window's length see more than the limit, whatever comes late or never (P2, U1, U2)", () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 150 })),
        fc.array(aStep, { minLength: 50, maxLength: 400 }),
        (limit, steps) => {
          const scene = new Scene(limit);
          for (const step of steps) step(scene);
          expect(scene.most()).toBeLessThanOrEqual(limit);
        },
      ),
      { numRuns: 150 },
    );
  });

  it("let all of the limit through in one burst, and again a window later, but not over an edge between", () => {
    const scene = new Scene(90);
    scene.request(0);
    scene.burst(0, 1);
    scene.advance(59_000);
    const late = [0, 1, 2].map((at) => scene.burst(at)).reduce((sum, n) => sum + n);
    expect(late).toBeGreaterThan(70);
    scene.advance(2_000);
    const over = [0, 1, 2].map((at) => scene.burst(at)).reduce((sum, n) => sum + n);
    expect(late + over).toBeLessThanOrEqual(90);
    scene.advance(windowMs);
    expect(scene.burst(1)).toBeGreaterThan(70);
    expect(scene.most()).toBeLessThanOrEqual(90);
  });

  it("are told true: who comes when it was told to is let through, and not refused again", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), fc.nat(30_000), (limit, pause) => {
        const scene = new Scene(limit, 1);
        scene.burst(0, 1);
        scene.advance(pause);
        scene.burst(0);
        for (let n = 0; n < 5; n += 1) {
          const ms = scene.emptyForMs(0);
          expect(ms).toBeGreaterThan(0);
          expect(ms).toBeLessThanOrEqual(windowMs + 2);
          scene.advance(ms + 2);
          expect(scene.burst(0)).toBeGreaterThan(0);
        }
      }),
      { numRuns: 30 },
    );
  });

  it("cost no ask each while a user sends a few requests, and few while it sends more than it may", () => {
    const calm = new Scene(1_200);
    for (let n = 0; n < 60; n += 1) {
      calm.burst(n % 3, 1);
      calm.advance(5_000);
    }
    expect(calm.accepted).toHaveLength(60);
    // One per gateway and minute.
    expect(calm.asks).toBeLessThanOrEqual(20);

    const wild = new Scene(1_200);
    for (let n = 0; n < 3_000; n += 1) {
      wild.burst(n % 3, 10);
      wild.advance(100);
    }
    // Five minutes at five times the limit: nearly all of the limit is let through, at an ask for several.
    expect(wild.most()).toBeLessThanOrEqual(1_200);
    expect(wild.accepted.length).toBeGreaterThan(5 * 1_200 * 0.8);
    expect(wild.asks).toBeLessThan(wild.accepted.length / 4);
  });
});
