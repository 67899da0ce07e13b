import type { SessionEvent } from "../../protocols/events.ts";
import type { TerminalState } from "../../protocols/job.ts";

/** How a job ended, as its last event says. */
export interface JobEnd {
  readonly state: TerminalState;
  readonly exitCode: number | null;
}

const STATE_OF: Partial<Record<SessionEvent["type"], TerminalState>> = {
  "job.succeeded": "succeeded",
  "job.failed": "failed",
  "job.cancelled": "cancelled",
  "job.timed_out": "timed_out",
  "job.interrupted": "interrupted",
};

/** The end of the job, if this event is one; an interruption that is tried again is none. */
export function endOf(event: SessionEvent): JobEnd | undefined {
  const state = STATE_OF[event.type];
  if (state === undefined || event.data["will_retry"] === true) return undefined;
  const code = event.data["exit_code"];
  return { state, exitCode: typeof code === "number" ? code : null };
}
