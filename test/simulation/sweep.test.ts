/** R1 to R8 over thousands of schedules: real nodes and clients, a modelled broker, faults from a seed. */
import { describe, expect, test } from "vitest";
import type { Fault } from "../../runtime/testkit/fault-plan.ts";
import { runSchedule } from "../../runtime/testkit/schedule.ts";
import { describeFailure, sweep } from "../../runtime/testkit/sweep.ts";
import { promises } from "./scenario.ts";

const SCHEDULES = 3_000;
/** A slow machine runs fewer, never none. */
const BUDGET_MS = 150_000;
const FEWEST = 50;
const REPEATED = 8;
/** A node joins, and then all are restarted, one after the other. */
const ROLLING: readonly Fault[] = [
  { at: 1_000, type: "join", node: "n5" },
  ...["n1", "n2", "n3", "n5"].map(
    (node, i): Fault => ({ at: 2_500 + 1_600 * i, type: "restart", node }),
  ),
];

describe("schedules", () => {
  test("of one seed run the same way again, those of others another", async () => {
    const hashes = new Set<string>();
    for (let seed = 1; seed <= REPEATED; seed += 1) {
      const [first, again] = [
        await runSchedule(promises(), { seed }),
        await runSchedule(promises(), { seed }),
      ];
      expect(again).toEqual(first);
      expect(first.events).toBeGreaterThan(300);
      hashes.add(first.hash);
    }
    expect(hashes.size).toBe(REPEATED);
  });

  test("of nodes that drain, stop, start again and join fail no call and lose no message (R8)", async () => {
    const { failure } = await sweep(promises({ everyCall: true }), {
      first: 1,
      schedules: 40,
      faults: ROLLING,
    });
    if (failure) expect.fail(describeFailure(failure));
  });

  test("keep R1 to R8 whatever goes wrong", async () => {
    const { schedules, events, failure } = await sweep(promises(), {
      first: 1,
      schedules: SCHEDULES,
      budgetMs: BUDGET_MS,
    });
    process.stdout.write(`simulated ${schedules} schedules with ${events} events\n`);
    if (failure) {
      const again = `npm run simulate -- --seed ${failure.seed}`;
      expect.fail(`${describeFailure(failure)}\nsee it again: ${again}`);
    }
    expect(schedules).toBeGreaterThanOrEqual(FEWEST);
  });
});
