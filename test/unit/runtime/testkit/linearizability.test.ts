/** The judge of histories: known ones, ones that a real object made, and every small one against a slow judge. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BerthError } from "../../../../protocols/errors.ts";
import {
  type Operation,
  type Outcome,
  outcomeOfError,
  recordHistory,
} from "../../../../runtime/testkit/history.ts";
import { checkLinearizable } from "../../../../runtime/testkit/linearizability.ts";
import {
  counterModel,
  growingCounterModel,
  type Model,
  registerModel,
} from "../../../../runtime/testkit/models.ts";

const NEVER = Number.POSITIVE_INFINITY;
const UNKNOWN: Outcome = { type: "unknown" };
const ok = (output: unknown = null): Outcome => ({ type: "ok", output });

/** `[op, input, outcome, start, end]`, all of one key. */
type Row = readonly [op: string, input: unknown, outcome: Outcome, start: number, end: number];
const history = (...rows: Row[]): Operation[] =>
  rows.map(([op, input, outcome, start, end], i) => ({
    client: `c${i}`,
    key: "x",
    op,
    input,
    outcome,
    start,
    end,
  }));
const verdict = (model: Model<never> | Model<unknown> | Model<number>, ...rows: Row[]) =>
  checkLinearizable(model as Model<unknown>, history(...rows)).verdict;

describe("histories from the literature", () => {
  const register = registerModel(0);

  test("a read that overlaps a write may see the old or the new value (Herlihy and Wing, 1990)", () => {
    const write: Row = ["write", 1, ok(), 0, 10];
    expect(verdict(register, write, ["read", null, ok(0), 2, 4])).toBe("ok");
    expect(verdict(register, write, ["read", null, ok(1), 2, 4])).toBe("ok");
    expect(verdict(register, write, ["read", null, ok(2), 2, 4])).toBe("violated");
  });

  test("once a read saw the new value, a later one never sees the old: no new-old inversion", () => {
    const write: Row = ["write", 1, ok(), 0, 10];
    const first: Row = ["read", null, ok(1), 1, 3];
    expect(verdict(register, write, first, ["read", null, ok(0), 4, 6])).toBe("violated");
    expect(verdict(register, write, first, ["read", null, ok(0), 2, 6])).toBe("ok");
  });

  test("a read after a write's end never sees the value before it: no stale read", () => {
    expect(verdict(register, ["write", 1, ok(), 0, 1], ["read", null, ok(0), 2, 3])).toBe(
      "violated",
    );
  });

  test("two swaps from one value never both succeed", () => {
    const swap = (to: number, wrote: boolean): Row => ["cas", { from: 0, to }, ok(wrote), 0, 5];
    expect(verdict(register, swap(1, true), swap(2, false))).toBe("ok");
    expect(verdict(register, swap(1, true), swap(2, true))).toBe("violated");
  });

  test("two additions never answer the same sum: that is a lost update", () => {
    const add = (sum: number): Row => ["add", 1, ok(sum), 0, 5];
    expect(verdict(counterModel, add(1), add(2))).toBe("ok");
    expect(verdict(counterModel, add(1), add(1))).toBe("violated");
  });
});

describe("calls of unknown fate", () => {
  test("may have happened, or not, or happen later than anything seen", () => {
    const write: Row = ["write", 1, UNKNOWN, 0, NEVER];
    const read = (value: number, start: number): Row => ["read", null, ok(value), start, start + 1];
    expect(verdict(registerModel(0), write, read(1, 5))).toBe("ok");
    expect(verdict(registerModel(0), write, read(0, 5), read(0, 7))).toBe("ok");
    expect(verdict(registerModel(0), write, read(0, 5), read(1, 7))).toBe("ok");
    expect(verdict(registerModel(0), write, read(1, 5), read(0, 7))).toBe("violated");
  });

  test("take effect once at most", () => {
    const add: Row = ["add", 1, UNKNOWN, 0, NEVER];
    expect(verdict(counterModel, add, add, ["read", null, ok(2), 5, 6])).toBe("ok");
    expect(verdict(counterModel, add, add, ["read", null, ok(3), 5, 6])).toBe("violated");
  });

  test("do not take effect before they begin", () => {
    const late: Row = ["add", 1, UNKNOWN, 10, NEVER];
    expect(verdict(counterModel, late, ["read", null, ok(1), 5, 6])).toBe("violated");
  });

  test("are judged in time when they are many and alike", () => {
    const adds = Array.from({ length: 40 }, (_, i): Row => ["add", 1, UNKNOWN, i, NEVER]);
    const read = (sum: number, at: number): Row => ["read", null, ok(sum), at, at + 1];
    const reads = [read(20, 50), read(35, 60)];
    expect(verdict(counterModel, ...adds, ...reads)).toBe("ok");
    expect(verdict(counterModel, ...adds, ...reads, read(34, 70))).toBe("violated");
  });
});

describe("calls of unknown fate that are all different", () => {
  /** Every third addition is lost, and every other of the lost ones came about. */
  function longHistory(rounds: number) {
    const amounts = Array.from({ length: rounds }, (_, i) => 1_000 + ((i * 7_919) % 99_991));
    let sum = 0;
    return amounts.map((amount, i): Row => {
      const isLost = i % 3 === 1;
      if (!isLost || i % 2 === 1) sum += amount;
      const at = i * 10;
      return isLost ? ["add", amount, UNKNOWN, at, NEVER] : ["add", amount, ok(sum), at, at + 5];
    });
  }

  test("are judged in time when a counter only grows: what is past is not tried", () => {
    const rows = longHistory(180);
    const steps = 200_000;
    const judge = (model: Model<number>, calls: readonly Row[]) =>
      checkLinearizable(model, history(...calls), { steps }).verdict;
    expect(judge(growingCounterModel, rows)).toBe("ok");
    expect(judge(counterModel, rows)).toBe("unknown");
    const last = rows.findLastIndex(([, , { type }]) => type === "ok");
    const [op, input, , start, end] = rows[last]!;
    const wrong = rows.with(last, [op, input, ok(1), start, end]);
    expect(judge(growingCounterModel, wrong)).toBe("violated");
  });
});

describe("a judgement", () => {
  test("names the key that is wrong and shows the calls that could not come next", () => {
    const good = history(["write", 1, ok(), 0, 1]).map((call) => ({ ...call, key: "good" }));
    const bad = history(["write", 1, ok(), 0, 1], ["read", null, ok(2), 2, 3]);
    const found = checkLinearizable(registerModel(0), [...good, ...bad]);
    expect(found).toMatchObject({ verdict: "violated", key: "x", keys: 2, operations: 3 });
    expect(found.witness?.order.map(({ op }) => op)).toEqual(["write"]);
    expect(found.witness?.stuck.map(({ op }) => op)).toEqual(["read"]);
  });

  test("is unknown, never wrong, when its budget ends first", () => {
    const adds = Array.from({ length: 16 }, (_, i): Row => ["add", i + 1, UNKNOWN, i, NEVER]);
    const calls = history(...adds, ["read", null, ok(1_000), 50, 51]);
    expect(checkLinearizable(counterModel, calls, { steps: 500 }).verdict).toBe("unknown");
    let now = 0;
    const clock = { monotonic: () => now++ };
    const timed = checkLinearizable(counterModel, calls, { budgetMs: 2, clock });
    expect(timed).toMatchObject({ verdict: "unknown", key: "x" });
  });

  test("leaves out calls that failed for certain", () => {
    const failed: Outcome = { type: "failed" };
    expect(verdict(counterModel, ["add", 1, failed, 0, 1], ["read", null, ok(1), 2, 3])).toBe(
      "violated",
    );
    expect(verdict(counterModel, ["add", 1, failed, 0, 1], ["read", null, ok(0), 2, 3])).toBe("ok");
  });
});

interface Draw {
  readonly op: string;
  readonly input: unknown;
  readonly start: number;
  readonly takes: number;
  /** Where between start and end it took effect. */
  readonly point: number;
  readonly isSeen: boolean;
  readonly happened: boolean;
}

const draws = (ops: fc.Arbitrary<{ op: string; input: unknown }>, most: number) =>
  fc.array(
    fc
      .record({
        call: ops,
        start: fc.integer({ min: 0, max: 40 }),
        takes: fc.integer({ min: 1, max: 20 }),
        point: fc.double({ min: 0.01, max: 0.99, noNaN: true }),
        isSeen: fc.boolean(),
        happened: fc.boolean(),
      })
      .map(({ call, ...rest }): Draw => ({ ...call, ...rest })),
    { minLength: 1, maxLength: most },
  );

const counterOps = fc.oneof(
  fc.integer({ min: 1, max: 3 }).map((n) => ({ op: "add", input: n })),
  fc.constant({ op: "read", input: null }),
);
const registerOps = fc.oneof(
  fc.integer({ min: 0, max: 3 }).map((n) => ({ op: "write", input: n })),
  fc.constant({ op: "read", input: null }),
  fc
    .record({ from: fc.integer({ min: 0, max: 3 }), to: fc.integer({ min: 0, max: 3 }) })
    .map((input) => ({ op: "cas", input })),
);

/** What a correct object answers to these calls, each taking effect at its point. */
function perform(drawn: readonly Draw[], object: (op: string, input: unknown) => unknown) {
  const rows = drawn.map((draw) => ({ draw, at: draw.start + draw.takes * draw.point }));
  const answers = new Map<Draw, unknown>();
  for (const { draw } of rows.toSorted((a, b) => a.at - b.at))
    if (draw.isSeen || draw.happened) answers.set(draw, object(draw.op, draw.input));
  return history(
    ...drawn.map((draw): Row => {
      const outcome = draw.isSeen ? ok(answers.get(draw)) : UNKNOWN;
      const end = draw.isSeen ? draw.start + draw.takes : NEVER;
      return [draw.op, draw.input, outcome, draw.start, end];
    }),
  );
}

function counter() {
  let sum = 0;
  return (op: string, input: unknown) => {
    if (op === "add") sum += Number(input);
    return sum;
  };
}

function register() {
  let value: unknown = 0;
  return (op: string, input: unknown) => {
    if (op === "read") return value;
    if (op === "write") {
      value = input;
      return null;
    }
    const { from, to } = input as { from: number; to: number };
    if (value !== from) return false;
    value = to;
    return true;
  };
}

/** Tries every order: too slow for anything but small histories, and too simple to be wrong in the same way. */
function slowVerdict<S>(model: Model<S>, calls: readonly Operation[]): "ok" | "violated" {
  const canEnd = (left: readonly Operation[], state: S): boolean => {
    if (left.every(({ outcome }) => outcome.type === "unknown")) return true;
    const firstEnd = Math.min(...left.map(({ end }) => end));
    return left.some((call) => {
      if (call.start > firstEnd) return false;
      const seen = call.outcome.type === "ok" ? { output: call.outcome.output } : undefined;
      const next = model.step(state, { op: call.op, input: call.input, seen });
      return (
        next !== undefined &&
        canEnd(
          left.filter((other) => other !== call),
          next.state,
        )
      );
    });
  };
  return canEnd(calls, model.initial) ? "ok" : "violated";
}

/** Changes what one call was told, so that many of the histories are wrong. */
function spoil(calls: Operation[], at: number, by: number): Operation[] {
  const i = at % calls.length;
  const call = calls[i]!;
  if (call.outcome.type !== "ok" || typeof call.outcome.output !== "number") return calls;
  return calls.with(i, { ...call, outcome: ok(call.outcome.output + by) });
}

describe("random histories", () => {
  test("of a correct counter and a correct register are accepted, whatever overlaps and is lost", () => {
    fc.assert(
      fc.property(draws(counterOps, 24), draws(registerOps, 24), (adds, writes) => {
        const sums = perform(adds, counter());
        expect(checkLinearizable(counterModel, sums).verdict).toBe("ok");
        expect(checkLinearizable(growingCounterModel, sums).verdict).toBe("ok");
        expect(checkLinearizable(registerModel(0), perform(writes, register())).verdict).toBe("ok");
      }),
      { numRuns: 300 },
    );
  });

  test("with a read of what was never written are refused", () => {
    fc.assert(
      fc.property(draws(registerOps, 24), fc.nat(), (writes, at) => {
        const calls = perform(writes, register());
        const reads = calls.filter(({ op, outcome }) => op === "read" && outcome.type === "ok");
        fc.pre(reads.length > 0);
        const chosen = calls.indexOf(reads[at % reads.length]!);
        const wrong = calls.with(chosen, { ...calls[chosen]!, outcome: ok(99) });
        expect(checkLinearizable(registerModel(0), wrong).verdict).toBe("violated");
      }),
      { numRuns: 200 },
    );
  });

  test("are judged as by trying every order, the wrong ones too", () => {
    let wrong = 0;
    const agree = <S>(model: Model<S>, calls: Operation[]) => {
      const expected = slowVerdict(model, calls);
      if (expected === "violated") wrong += 1;
      expect(checkLinearizable(model, calls).verdict).toBe(expected);
    };
    fc.assert(
      fc.property(
        draws(counterOps, 7),
        draws(registerOps, 7),
        fc.nat(),
        fc.integer({ min: -2, max: 2 }),
        (adds, writes, at, by) => {
          agree(counterModel, spoil(perform(adds, counter()), at, by));
          agree(growingCounterModel, spoil(perform(adds, counter()), at, by));
          agree(registerModel(0), spoil(perform(writes, register()), at, by));
        },
      ),
      { numRuns: 600 },
    );
    expect(wrong).toBeGreaterThan(100);
  });
});

describe("a history recorder", () => {
  test("gives every start and end a time of its own, and leaves what has not ended unknown", async () => {
    const history = recordHistory({ monotonic: () => 5 });
    const first = history.invoke("c1", "x", "add", 1);
    history.invoke("c2", "x", "add", 2);
    first(ok(1));
    first(UNKNOWN);
    const call = { client: "c1", key: "x", op: "read", input: null };
    await expect(history.run(call, () => Promise.resolve(7))).resolves.toBe(7);
    const [one, two, three] = history.operations;
    expect([one!.start < two!.start, two!.start < one!.end, one!.end < three!.start]).toEqual([
      true,
      true,
      true,
    ]);
    expect(history.operations.map(({ outcome }) => outcome)).toEqual([ok(1), UNKNOWN, ok(7)]);
    expect(two!.end).toBe(NEVER);
  });

  test("knows which errors leave no effect: a moved actor took nothing, a silent one may have", async () => {
    const history = recordHistory({ monotonic: () => 0 });
    for (const code of [
      "actor.moved",
      "actor.mailbox_full",
      "ask.timeout",
      "actor.failed",
    ] as const) {
      const call = { client: "c", key: "x", op: "add", input: 1 };
      const failing = history.run(call, () => Promise.reject(new BerthError(code)));
      await expect(failing).rejects.toMatchObject({ code });
    }
    expect(history.operations.map(({ outcome }) => outcome.type)).toEqual([
      "failed",
      "failed",
      "unknown",
      "unknown",
    ]);
    expect(outcomeOfError(new Error("of another kind"))).toEqual(UNKNOWN);
  });
});
