/** The states of a worker as its supervisor sees it, from intent to removal. */
import { BerthError } from "../../protocols/errors.ts";

export const WORKER_STATES = ["wanted", "starting", "ready", "stopping", "gone"] as const;
export type WorkerState = (typeof WORKER_STATES)[number];

/**
 * `starting` goes back to `wanted` to try again, and to `stopping` when it is given up, for half a worker may
 * stand. A worker that is gone never comes back: its successor has another id.
 */
const MOVES: Record<WorkerState, readonly WorkerState[]> = {
  wanted: ["starting", "gone"],
  starting: ["ready", "wanted", "stopping"],
  ready: ["stopping", "gone"],
  stopping: ["gone"],
  gone: [],
};

export function canMove(from: WorkerState, to: WorkerState): boolean {
  return MOVES[from].includes(to);
}

/** `to`, if the table allows the move; throws `internal.unexpected` when it does not. */
export function moveState<To extends WorkerState>(from: WorkerState, to: To): To {
  if (canMove(from, to)) return to;
  throw new BerthError("internal.unexpected", `a worker's state cannot go from ${from} to ${to}`);
}
