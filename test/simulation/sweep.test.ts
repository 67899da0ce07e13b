/** Of schedules: that a seed repeats its own, and that planned comings and goings cost nothing. */
import { describe, expect, test } from "vitest";
import type { Fault } from "../../runtime/testkit/fault-plan.ts";
import { runSchedule } from "../../runtime/testkit/schedule.ts";
import { describeFailure, sweep } from "../../runtime/testkit/sweep.ts";
import { promises } from "./scenario.ts";

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
});
