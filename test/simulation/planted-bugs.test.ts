/** What the simulator is worth: bugs of the kinds that it is there for, planted one by one, are found. */
import { describe, expect, test } from "vitest";
import type { Fault } from "../../runtime/testkit/fault-plan.ts";
import { describeFailure, sweep } from "../../runtime/testkit/sweep.ts";
import {
  ackedTooSoon,
  cursorIgnored,
  fenceRemoved,
  orderBroken,
  outboxDropped,
} from "./planted-bugs.ts";
import { promises } from "./scenario.ts";

/** A node that loses its partitions and comes back, and one that dies with a commit whose outbox it has not sent. */
const PAUSES: readonly Fault[] = [
  { at: 500, type: "pause", node: "n1", forMs: 2_600 },
  { at: 3_500, type: "pause", node: "n2", forMs: 2_600 },
  { at: 6_500, type: "pause", node: "n1", forMs: 2_600 },
];
const DEATHS: readonly Fault[] = [500, 2_500, 4_500, 6_500].map((at, i) => ({
  at,
  type: "kill-at-step",
  node: i % 2 === 0 ? "n1" : "n2",
  step: "committed",
  nth: 1,
  downMs: 800,
}));

/** Seeds from 1 on within which each bug must be found, with the faults of the seed where none are given. */
const BUGS = [
  { bug: "a commit that overwrites", sabotage: fenceRemoved, rule: "R1", within: 20 },
  { bug: "an early acknowledgement", sabotage: ackedTooSoon, rule: "R2", within: 40 },
  { bug: "a cursor that is ignored", sabotage: cursorIgnored, rule: "R3", within: 80 },
  {
    bug: "an outbox not sent again",
    sabotage: outboxDropped,
    rule: "R2",
    within: 40,
    faults: DEATHS,
  },
  { bug: "two messages swapped", sabotage: orderBroken, rule: "R4", within: 20 },
] as const;

describe("a simulator with a planted bug", () => {
  test.each(BUGS)("finds $bug ($rule)", async ({ within, rule, ...options }) => {
    const found = await sweep(promises(), {
      first: 1,
      schedules: within,
      rules: [rule],
      ...options,
    });
    expect(found.failure?.violations.map((violation) => violation.rule)).toContain(rule);
  });

  test("finds a removed fence by what clients saw alone: no order of their calls explains it (R1)", async () => {
    const found = await sweep(promises(), {
      first: 1,
      schedules: 80,
      sabotage: fenceRemoved,
      faults: PAUSES,
      rules: ["linearizable"],
    });
    expect(found.failure?.violations ?? []).toContainEqual({
      rule: "linearizable",
      message: expect.stringMatching(/^(sum|value) \w: no order explains /) as string,
    });
  });

  test("tells the seed and the fewest faults that show it", async () => {
    const found = await sweep(promises(), {
      first: 1,
      schedules: 60,
      sabotage: cursorIgnored,
      rules: ["R3"],
    });
    const failure = found.failure!;
    expect(failure.fewest.length).toBeLessThanOrEqual(failure.faults.length);
    expect(describeFailure(failure)).toMatch(
      /^seed \d+ breaks [\s\S]*R3[\s\S]*with \d of its \d faults:\n {2}\d+\.\d{3} s /,
    );
  });
});
