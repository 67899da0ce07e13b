/** Tools for testing actors, and systems made of them: `import ... from "berth/testing"`. */
export { startTestCluster, type TestCluster, type TestClusterOptions } from "./cluster.ts";
export { eventually } from "./eventually.ts";
export { describeFault, type Fault } from "./fault-plan.ts";
export { type Fate, type Faults, noFaults, type Passage } from "./faults.ts";
export { type FaultyOptions, type FaultyTransport, faultyTransport } from "./faulty-transport.ts";
export {
  type HistoryRecorder,
  type Operation,
  type Outcome,
  outcomeOfError,
  type RecordedCall,
  recordHistory,
} from "./history.ts";
export {
  type Budget,
  checkLinearizable,
  type Judgement,
  type Witness,
} from "./linearizability.ts";
export { ManualClock } from "./manual-clock.ts";
export {
  counterModel,
  growingCounterModel,
  type Model,
  type ModelCall,
  registerModel,
} from "./models.ts";
export { TestProcess } from "./process.ts";
export { type Random, seededRandom } from "./random.ts";
export type { Scenario, Violation } from "./scenario.ts";
export { runSchedule, type ScheduleResult } from "./schedule.ts";
export type { ScheduleOptions, SimulatedClient, Simulation } from "./simulation.ts";
export { describeFailure, type Failure, type Sweep, type SweepOptions, sweep } from "./sweep.ts";
