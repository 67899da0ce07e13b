/** Whether an idle worker may go. Idle means no job, no attached client, no process of an agent using CPU. */

export interface Activity {
  /** Since when no job runs; null while one does. */
  readonly idleSince: number | null;
  /** When a client was last known to be attached, or an agent's process last used CPU; null is never. */
  readonly lastSign: number | null;
  /** How long such a sign counts as going on. */
  readonly signHoldsMs: number;
}

export type IdleVerdict =
  | { readonly go: true }
  /** Ask again then. `idleSince` is null while something still goes on. */
  | { readonly go: false; readonly idleSince: number | null; readonly askAt: number };

export function decideIdle(activity: Activity, timeoutMs: number, now: number): IdleVerdict {
  const { idleSince, lastSign, signHoldsMs } = activity;
  const active = idleSince === null || (lastSign !== null && now < lastSign + signHoldsMs);
  if (active) return { go: false, idleSince: null, askAt: now + timeoutMs };
  const quietSince = Math.max(idleSince, lastSign ?? 0);
  const askAt = quietSince + timeoutMs;
  return now >= askAt ? { go: true } : { go: false, idleSince: quietSince, askAt };
}

/** Whether agents' processes used more than `share` of one CPU between two readings; a first reading says nothing. */
export function usedCpu(
  before: { readonly cpuMs: number; readonly at: number } | null,
  after: { readonly cpuMs: number; readonly at: number },
  share: number,
): boolean {
  if (!before) return false;
  const elapsedMs = Math.max(1, after.at - before.at);
  return (after.cpuMs - before.cpuMs) / elapsedMs > share;
}
