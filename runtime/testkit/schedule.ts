/** Runs one schedule to its end and says what is broken. */
import type { Fault } from "./fault-plan.ts";
import type { Scenario, Violation } from "./scenario.ts";
import { FAULTS_FOR_MS, type ScheduleOptions, Simulation } from "./simulation.ts";

export interface ScheduleResult {
  readonly seed: number;
  readonly violations: readonly Violation[];
  /** Equal for two runs of one seed. */
  readonly hash: string;
  readonly faults: readonly Fault[];
  /** Messages and faults. */
  readonly events: number;
  /** How long it took on the simulated clock. */
  readonly simulatedMs: number;
}

const LOOK_MS = 500;
/** From the end of the faults until every partition has one host (R8). */
const SETTLE_WITHIN_MS = 30_000;
/** Then until all mail is handled: an acknowledgement's time, backoffs and a full mailbox's patience. */
const DRAIN_WITHIN_MS = 90_000;
/** Rest after which all is judged. */
const REST_MS = 2_500;
/** Rest that is long enough for a take-over's second look for open work: what was missing may still come. */
const LONG_REST_MS = 11_000;
const LOAD_WITHIN_MS = 120_000;
const CHECK_WITHIN_MS = 60_000;
/** Bounds a schedule that does not come to an end. */
const MAX_STEPS = 1_000_000;

export async function runSchedule(
  scenario: Scenario,
  options: ScheduleOptions,
): Promise<ScheduleResult> {
  // Errors are part of the game here, and their stacks are half of its cost.
  const { stackTraceLimit } = Error;
  if (!options.trace) Error.stackTraceLimit = 0;
  try {
    return await runToEnd(scenario, options);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

async function runToEnd(scenario: Scenario, options: ScheduleOptions): Promise<ScheduleResult> {
  const simulation = new Simulation(scenario, options);
  const violations: Violation[] = [];
  const story = { isOver: false };
  const telling = tell(scenario, simulation, violations)
    .catch((thrown: unknown) => {
      const reason = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
      violations.push({ rule: "scenario", message: reason });
    })
    .finally(() => {
      story.isOver = true;
    });
  for (let steps = 0; !story.isOver; steps += 1) {
    if (steps < MAX_STEPS && (await simulation.clock.step())) continue;
    if (story.isOver) break;
    violations.push({ rule: "scenario", message: `it did not end: ${simulation.describe()}` });
    break;
  }
  if (story.isOver) await telling;
  return {
    seed: options.seed,
    violations: [...violations, ...simulation.commits.check()],
    hash: simulation.trace.hash,
    faults: simulation.faults,
    events: simulation.trace.events,
    simulatedMs: simulation.clock.monotonic(),
  };
}

async function tell(
  scenario: Scenario,
  simulation: Simulation,
  violations: Violation[],
): Promise<void> {
  const { clock } = simulation;
  simulation.begin();
  const load = scenario.load(simulation);
  await Promise.all([
    clock.sleep(FAULTS_FOR_MS),
    within(simulation, load, { ms: LOAD_WITHIN_MS, what: "the load" }),
  ]);
  simulation.heal();
  if (!(await holds(simulation, SETTLE_WITHIN_MS, () => simulation.isSettled))) {
    violations.push({ rule: "R8", message: `not settled: ${simulation.describe()}` });
    return;
  }
  if (!(await comesToRest(simulation, REST_MS))) {
    violations.push({ rule: "R2", message: `no rest: ${simulation.describe()}` });
    return;
  }
  if ((await judge(scenario, simulation)).length === 0) return;
  await comesToRest(simulation, LONG_REST_MS);
  violations.push(...(await judge(scenario, simulation)));
}

async function judge(scenario: Scenario, simulation: Simulation): Promise<Violation[]> {
  const check = scenario.check(simulation);
  await within(simulation, check, { ms: CHECK_WITHIN_MS, what: "the check" });
  return check;
}

/** Rejects when `work` takes longer. */
async function within(
  { clock }: Simulation,
  work: Promise<unknown>,
  { ms, what }: { readonly ms: number; readonly what: string },
): Promise<void> {
  const late = new AbortController();
  const limit = clock.sleep(ms, late.signal).then(() => {
    if (!late.signal.aborted) throw new Error(`${what} did not end within ${ms} ms`);
  });
  await Promise.race([work, limit]);
  late.abort();
}

async function holds(
  { clock }: Simulation,
  withinMs: number,
  condition: () => boolean,
): Promise<boolean> {
  const until = clock.monotonic() + withinMs;
  while (!condition()) {
    if (clock.monotonic() >= until) return false;
    await clock.sleep(LOOK_MS);
  }
  return true;
}

/** No mail waits and nothing is committed for a while. */
async function comesToRest(simulation: Simulation, restMs: number): Promise<boolean> {
  const { clock, commits } = simulation;
  let count = -1;
  let since = clock.monotonic();
  return holds(simulation, DRAIN_WITHIN_MS, () => {
    const now = clock.monotonic();
    if (!simulation.isDrained || !simulation.isSettled || commits.commits.length !== count) {
      count = commits.commits.length;
      since = now;
    }
    return now - since >= restMs;
  });
}
