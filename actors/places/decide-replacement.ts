/** When a place replaces a worker that it lost. */
import { backoffMs } from "../backoff.ts";
import type { WorkerPhase } from "./worker-phase.ts";

export interface Losses {
  /** Workers in a row that could not start. */
  readonly failures: number;
  /** Workers in a row that died at rest, each come up after the one before had; and when the last did. */
  readonly crashes: number;
  readonly crashed_at: number | null;
  /** Until when no other is started. */
  readonly held_until: number;
}

interface LostWorker {
  readonly phase: WorkerPhase;
  /** When it was up; null when it never was. */
  readonly ready_at: number | null;
}

/**
 * One that could not start is replaced after a pause, for the next one most likely cannot either. One that died at rest is
 * replaced at once, and so are those that died with it; but if the replacement dies, too, then after a pause. One that died
 * under a job is the job's doing, and jobs have limits of their own; one that was going anyway leaves no gap.
 */
export function decideReplacement(
  past: Losses,
  { phase, ready_at }: LostWorker,
  now: number,
  backoff: { readonly initialMs: number; readonly maxMs: number },
): Losses {
  if (phase === "starting") {
    const failures = past.failures + 1;
    return { ...past, failures, held_until: now + backoffMs(failures, backoff) };
  }
  const { crashed_at } = past;
  if (phase !== "idle" || (crashed_at !== null && (ready_at ?? 0) <= crashed_at)) return past;
  const isRow = crashed_at !== null && now <= crashed_at + 2 * backoff.maxMs;
  const crashes = isRow ? past.crashes + 1 : 1;
  const pauseMs = crashes === 1 ? 0 : backoffMs(crashes - 1, backoff);
  const held_until = Math.max(past.held_until, now + pauseMs);
  return { ...past, crashes, crashed_at: now, held_until };
}

/** A worker is up: whatever kept others from starting is over, but not what makes them die. */
export function afterReady(past: Losses): Losses {
  return { ...past, failures: 0, held_until: past.crashes > 1 ? past.held_until : 0 };
}
