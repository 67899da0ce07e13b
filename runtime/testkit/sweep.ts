/** Runs schedule after schedule until one breaks a promise, then looks for the fewest faults that still break it. */
import { type Clock, systemClock } from "../clock.ts";
import { describeFault, type Fault } from "./fault-plan.ts";
import type { Scenario, Violation } from "./scenario.ts";
import { runSchedule, type ScheduleResult } from "./schedule.ts";
import type { ScheduleOptions } from "./simulation.ts";

export interface SweepOptions extends Pick<ScheduleOptions, "faults" | "sabotage"> {
  /** The first seed; the others follow it. */
  readonly first: number;
  readonly schedules: number;
  /** Ends earlier, after the schedule that passes it. */
  readonly budgetMs?: number;
  readonly clock?: Pick<Clock, "monotonic">;
  /** Goes on over schedules that break other promises only. */
  readonly rules?: readonly string[];
}

export interface Sweep {
  /** Schedules that ran, the failing one included. */
  readonly schedules: number;
  readonly events: number;
  readonly simulatedMs: number;
  readonly failure: Failure | undefined;
}

export interface Failure extends ScheduleResult {
  /** Enough of its faults to break the same promise. */
  readonly fewest: readonly Fault[];
}

export async function sweep(scenario: Scenario, options: SweepOptions): Promise<Sweep> {
  const { first, schedules, budgetMs = Number.POSITIVE_INFINITY, clock = systemClock } = options;
  const { faults, rules, sabotage } = options;
  const counts = ({ rule }: Violation) => rules === undefined || rules.includes(rule);
  const until = clock.monotonic() + budgetMs;
  let [ran, events, simulatedMs] = [0, 0, 0];
  while (ran < schedules && clock.monotonic() < until) {
    const result = await runSchedule(scenario, { seed: first + ran, faults, sabotage });
    ran += 1;
    events += result.events;
    simulatedMs += result.simulatedMs;
    if (!result.violations.some(counts)) continue;
    const fewest = await shrink(scenario, result, { counts, sabotage });
    return { schedules: ran, events, simulatedMs, failure: { ...result, fewest } };
  }
  return { schedules: ran, events, simulatedMs, failure: undefined };
}

/** Leaves out one fault after the other, as long as a promise that counts stays broken. */
async function shrink(
  scenario: Scenario,
  { seed, faults }: ScheduleResult,
  by: { readonly counts: (violation: Violation) => boolean } & Pick<ScheduleOptions, "sabotage">,
): Promise<readonly Fault[]> {
  let fewest = faults;
  for (let at = fewest.length - 1; at >= 0; at -= 1) {
    const fewer = fewest.toSpliced(at, 1);
    const { sabotage } = by;
    const result = await runSchedule(scenario, { seed, faults: fewer, sabotage });
    if (result.violations.some(by.counts)) fewest = fewer;
  }
  return fewest;
}

/** What a person needs to see it again. */
export function describeFailure({ seed, violations, faults, fewest }: Failure): string {
  return [
    `seed ${seed} breaks ${[...new Set(violations.map(({ rule }) => rule))].join(", ")}`,
    ...violations.map(({ rule, message }) => `  ${rule}: ${message}`),
    `with ${fewest.length} of its ${faults.length} faults:`,
    ...fewest.map((fault) => `  ${describeFault(fault)}`),
  ].join("\n");
}
