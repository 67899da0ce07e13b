import type { ApiWorker } from "../../protocols/api-operators.ts";
import type { JobState } from "../../protocols/job.ts";
import type { Terminal, Tone } from "./terminal.ts";

const TONES: Readonly<Record<JobState | ApiWorker["phase"], Tone>> = {
  queued: "yellow",
  starting: "cyan",
  running: "cyan",
  succeeded: "green",
  failed: "red",
  cancelled: "dim",
  timed_out: "red",
  interrupted: "red",
  wanted: "yellow",
  idle: "green",
  busy: "cyan",
  draining: "yellow",
  stopping: "yellow",
  lost: "red",
};

/** A state in its colour. */
export function paintState(terminal: Pick<Terminal, "paint">, state: keyof typeof TONES): string {
  return terminal.paint(TONES[state], state);
}
