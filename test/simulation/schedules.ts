/** The schedules that run with the tests: always the same ones, in two files so that two cores share them. */
import { expect } from "vitest";
import { describeFailure, sweep } from "../../runtime/testkit/sweep.ts";
import { promises } from "./scenario.ts";

/** No time ends them early: a slow machine takes longer and looks at as many. */
const EACH = 1_500;

export const SCHEDULES_WITHIN_MS = 1_200_000;

/** Seeds from `part` times `EACH` on. */
export async function keepPromises(part: number): Promise<void> {
  const { schedules, events, failure } = await sweep(promises(), {
    first: 1 + part * EACH,
    schedules: EACH,
  });
  process.stdout.write(`simulated ${schedules} schedules with ${events} events\n`);
  if (failure) {
    const again = `npm run simulate -- --seed ${failure.seed}`;
    expect.fail(`${describeFailure(failure)}\nsee it again: ${again}`);
  }
  expect(schedules).toBe(EACH);
}
