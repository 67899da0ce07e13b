/** Whether a user's job is taken: the hourly window and the queue's bound. */

/** The window starts with its first accepted job, so that a burst at the full hour gains nothing. */
export interface QuotaWindow {
  readonly opened_at: number | null;
  readonly accepted: number;
}

export interface AdmissionLimits {
  readonly jobsPerHour: number;
  readonly queuedJobs: number;
  readonly windowMs: number;
}

export type Admission =
  | { readonly type: "accepted"; readonly window: QuotaWindow }
  /** The job was accepted before: answer as then, count nothing. */
  | { readonly type: "known"; readonly createdAt: number }
  | { readonly type: "over-quota"; readonly retryAfterMs: number }
  | { readonly type: "queue-full" };

export function decideAdmission(
  request: {
    readonly now: number;
    readonly window: QuotaWindow;
    readonly waiting: number;
    /** When this very job id was accepted, if it was. */
    readonly knownSince: number | undefined;
  },
  limits: AdmissionLimits,
): Admission {
  if (request.knownSince !== undefined) return { type: "known", createdAt: request.knownSince };
  const quota = quotaAt(request.window, request.now, limits);
  if (quota.remaining === 0) return { type: "over-quota", retryAfterMs: quota.resetMs };
  if (request.waiting >= limits.queuedJobs) return { type: "queue-full" };
  const { opened_at, accepted } = currentWindow(request.window, request.now, limits.windowMs);
  return {
    type: "accepted",
    window: { opened_at: opened_at ?? request.now, accepted: accepted + 1 },
  };
}

/** What is left of the window; a window that has passed, or none, leaves everything. */
export function quotaAt(
  window: QuotaWindow,
  now: number,
  limits: Pick<AdmissionLimits, "jobsPerHour" | "windowMs">,
): { readonly remaining: number; readonly resetMs: number } {
  const { opened_at, accepted } = currentWindow(window, now, limits.windowMs);
  return {
    remaining: Math.max(0, limits.jobsPerHour - accepted),
    resetMs: opened_at === null ? 0 : opened_at + limits.windowMs - now,
  };
}

function currentWindow(window: QuotaWindow, now: number, windowMs: number): QuotaWindow {
  const open = window.opened_at !== null && now < window.opened_at + windowMs;
  return open ? window : { opened_at: null, accepted: 0 };
}
