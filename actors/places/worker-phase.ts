/** The phases of a worker as its place sees it. A worker that is cold has no entry. */
import { BerthError } from "../../protocols/errors.ts";

export type WorkerPhase = "cold" | "starting" | "idle" | "busy" | "draining";

/**
 * Only an idle worker drains, so a job is never on a worker that is going; but for one that does not report, which
 * is ended with what is on it. Every phase may turn cold: workers die.
 */
const MOVES: Record<WorkerPhase, readonly WorkerPhase[]> = {
  cold: ["starting"],
  starting: ["idle", "draining", "cold"],
  idle: ["busy", "draining", "cold"],
  busy: ["idle", "draining", "cold"],
  draining: ["cold"],
};

export function canMoveWorker(from: WorkerPhase, to: WorkerPhase): boolean {
  return MOVES[from].includes(to);
}

/** `to`, if the table allows the move; throws `internal.unexpected` when it does not. */
export function moveWorker<To extends WorkerPhase>(from: WorkerPhase, to: To): To {
  if (canMoveWorker(from, to)) return to;
  throw new BerthError("internal.unexpected", `a worker cannot go from ${from} to ${to}`);
}
