/** R5, the decision by itself: from what was thrown, and how often, to what follows. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ERROR_TABLE, type ErrorCode } from "../../../protocols/errors.ts";
import { decideStanding, type StandingEvent, standingAt } from "../../../runtime/standing.ts";
import {
  DEFAULT_SUPERVISION,
  decideSupervision,
  type Failure,
  type Reaction,
  type Supervision,
} from "../../../runtime/supervision.ts";

const FAILURE: Failure = {
  code: "actor.failed",
  retry: "later",
  lane: "user",
  attempts: 1,
  failedAt: [],
  now: 1_000_000,
};
const codes = fc.constantFrom(...(Object.keys(ERROR_TABLE) as ErrorCode[]));
const lanes = fc.constantFrom("system", "control", "due", "user", "background", "ask" as const);
const plain = fc.constantFrom<Reaction>(
  "restart",
  "resume",
  "dead-letter",
  "park",
  "stop",
  "escalate",
);
const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const policies = fc.record({
  on: fc.record({ default: plain }),
  maxAttempts: fc.integer({ min: 1, max: 9 }),
  poison: fc.constantFrom("resume", "give-up"),
  intensity: fc.record({ failures: fc.nat(9), withinMs: fc.nat(10_000) }),
  stopMs: fc.nat(),
  backoff: fc.record({
    initialMs: fc.integer({ min: 1, max: 1_000 }),
    maxMs: fc.integer({ min: 1, max: 100_000 }),
  }),
});
const failures = fc.record({
  code: codes,
  retry: fc.constantFrom("never", "later", "elsewhere"),
  lane: lanes,
  attempts: fc.integer({ min: 1, max: 40 }),
  failedAt: fc.array(fc.integer({ min: 990_000, max: 1_000_000 }), { maxLength: 12 }),
  now: fc.constant(1_000_000),
});

const decide = (on: Supervision["on"], failure: Partial<Failure> = {}) =>
  decideSupervision({ ...DEFAULT_SUPERVISION, on }, { ...FAILURE, ...failure }, 0).action;

describe("a cause (R5)", () => {
  test("named by its code beats its area, and that the default", () => {
    const on = { default: "resume", "quota.*": "stop", "quota.hourly": "park" } as const;
    expect(decide(on, { code: "quota.hourly" })).toBe("park");
    expect(decide(on, { code: "quota.model" })).toBe("stop");
    expect(decide(on, { code: "actor.failed" })).toBe("dead-letter");
  });

  test("whose error says that another try is in vain is tried again only when its author names it", () => {
    const failure = { code: "agent.failed", retry: "never" } as const;
    expect(decide({ default: "restart" }, failure)).toBe("dead-letter");
    expect(decide({ default: "restart", "agent.failed": "restart" }, failure)).toBe("retry");
  });

  test("that parks keeps mail that can wait, and bounds the tries of mail that cannot", () => {
    const on = { default: { reaction: "park", forMs: 70 } } as const;
    const at = (failure: Partial<Failure>) =>
      decideSupervision({ ...DEFAULT_SUPERVISION, on }, { ...FAILURE, ...failure }, 0);
    expect(at({})).toEqual({ action: "park", forMs: 70, fate: { action: "wait" } });
    expect(at({ attempts: 99 })).toMatchObject({ fate: { action: "wait" } });
    expect(at({ lane: "control" })).toMatchObject({ fate: { action: "retry" } });
    expect(at({ lane: "control", attempts: 4 })).toMatchObject({ fate: { action: "give-up" } });
    expect(at({ lane: "ask" })).toMatchObject({ fate: { action: "give-up" } });
    expect(at({ retryAfterMs: 9 })).toMatchObject({ forMs: 9 });
  });

  test("of a poison message gives the actor up when its policy says so, an ask never does", () => {
    const policy = { ...DEFAULT_SUPERVISION, poison: "give-up" } as const;
    const poison = { ...FAILURE, attempts: policy.maxAttempts };
    expect(decideSupervision(policy, poison, 0)).toEqual({ action: "stop", escalate: true });
    expect(decideSupervision(policy, { ...poison, lane: "ask" }, 0)).toEqual({
      action: "dead-letter",
    });
  });

  test("is met by its own reaction whatever the policy, the attempts and the failures before", () => {
    fc.assert(
      fc.property(policies, failures, random, (policy, failure, r) => {
        const { action } = decideSupervision(policy, failure, r);
        const reaction = policy.on.default;
        if (reaction === "park") return action === "park";
        if (reaction === "stop" || reaction === "escalate") return action === "stop";
        if (reaction === "resume") return action === "dead-letter";
        return reaction === "restart" || action !== "retry";
      }),
    );
  });
});

describe("restart intensity and backoff (R5)", () => {
  test("stops exactly when more failures than allowed lie inside the window", () => {
    fc.assert(
      fc.property(policies, failures, random, (given, failure, r) => {
        const policy = { ...given, on: { default: "restart" }, poison: "resume" } as const;
        const { failures: most, withinMs } = policy.intensity;
        const recent = failure.failedAt.filter((at) => at > failure.now - withinMs).length + 1;
        const { action } = decideSupervision(policy, failure, r);
        return (action === "stop") === recent > most;
      }),
    );
  });

  test("a pause lies between half and the whole of its ceiling, which doubles up to its bound", () => {
    fc.assert(
      fc.property(policies, fc.integer({ min: 1, max: 60 }), random, (given, attempts, r) => {
        const policy = {
          ...given,
          on: { default: "restart" },
          maxAttempts: 99,
          intensity: { failures: 99, withinMs: 1 },
        } as const;
        const verdict = decideSupervision(policy, { ...FAILURE, attempts }, r);
        const { initialMs, maxMs } = policy.backoff;
        const ceiling = Math.min(maxMs, initialMs * 2 ** (attempts - 1));
        if (verdict.action !== "retry") return false;
        return verdict.afterMs >= Math.floor(ceiling / 2) && verdict.afterMs <= Math.ceil(ceiling);
      }),
    );
  });

  test("grows with the jitter that is injected, so that equal actors do not try in step", () => {
    const at = (r: number) => decideSupervision(DEFAULT_SUPERVISION, FAILURE, r);
    expect(at(0)).toEqual({ action: "retry", afterMs: 25 });
    expect(at(0.5)).toEqual({ action: "retry", afterMs: 38 });
  });
});

describe("the standing of an actor (R5)", () => {
  const events = fc.oneof(
    fc.record({
      type: fc.constantFrom("park", "stop"),
      code: fc.constant("quota.hourly"),
      message: fc.string(),
      until: fc.option(fc.nat(200), { nil: undefined }),
    }),
    fc.record({ type: fc.constantFrom("unpark", "restart") }),
  );
  const history = (all: readonly StandingEvent[]) =>
    all.reduce<ReturnType<typeof standingAt>>(
      (at, event, i) => decideStanding(at, event, i),
      undefined,
    );

  test("is active after a restart, whatever came before", () => {
    fc.assert(
      fc.property(fc.array(events, { maxLength: 20 }), (all) => {
        expect(history([...all, { type: "restart" }])).toBeUndefined();
      }),
    );
  });

  test("once stopped without end, stays so until a restart: neither parking nor unparking lifts it", () => {
    fc.assert(
      fc.property(fc.array(events, { maxLength: 20 }), (all) => {
        const others = all.filter(({ type }) => type !== "restart" && type !== "stop");
        const stopped = history([{ type: "stop", code: "a", message: "b" }, ...others]);
        expect(stopped).toEqual({ state: "stopped", code: "a", message: "b", since: 0 });
      }),
    );
  });

  test("is over at its end, not before", () => {
    const parked = decideStanding(
      undefined,
      { type: "park", code: "a", message: "b", until: 9 },
      1,
    );
    expect(parked).toEqual({ state: "parked", code: "a", message: "b", since: 1, until: 9 });
    expect(standingAt(parked, 8)).toBe(parked);
    expect(standingAt(parked, 9)).toBeUndefined();
  });
});
