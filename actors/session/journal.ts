/** How the session writes events and ends attempts; its other files go through here. */
import type { Session } from "../../protocols/actors/session.ts";
import type { EventData, EventType } from "../../protocols/events.ts";
import type { Context } from "../../runtime/actor.ts";
import type { ActorOptions } from "../options.ts";
import { type ActiveJob, MAX_MARKS, type SessionState } from "./state.ts";

type Messages = (typeof Session)["messages"];
export type SessionTurn = Context<SessionState, Messages>;

/** The turn with what it may consult; one argument for the functions of this folder. */
export interface Scene {
  readonly ctx: SessionTurn;
  readonly options: ActorOptions;
}

/**
 * Appends an event. Its time is the executor's where it gives one, but never before the previous event's
 * and never ahead of ours, so that one worker's wrong clock cannot disorder the log.
 */
export function journal<T extends EventType>(
  { ctx }: Scene,
  type: T,
  jobId: string,
  data: EventData<T>,
  at = ctx.now,
): void {
  const { state } = ctx;
  state.last_event_at = Math.max(state.last_event_at, Math.min(at, ctx.now));
  state.last_seq = ctx.emit(type, jobId, data, state.last_event_at);
}

export function watchName(jobId: string): string {
  return `watch-${jobId}`;
}

/** Sets or moves the one watchdog of a job. */
export function watch({ ctx }: Scene, { ticket }: ActiveJob, afterMs: number): void {
  const { job_id, attempt } = ticket;
  ctx.remind("overdue", { job_id, attempt }, { afterMs }, watchName(job_id));
}

/** Remembers how far the attempt's frames came, so that a resent last one is acknowledged. */
export function markEnded({ state }: SessionTurn, job: ActiveJob): void {
  const { job_id, attempt } = job.ticket;
  const mark = { job_id, attempt, worker: job.worker, frame: job.frame };
  state.ended = [...state.ended, mark].slice(-MAX_MARKS);
}
