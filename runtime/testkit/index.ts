/** Tools for testing actors, and systems made of them: `import ... from "berth/testing"`. */
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
export { counterModel, type Model, type ModelCall, registerModel } from "./models.ts";
