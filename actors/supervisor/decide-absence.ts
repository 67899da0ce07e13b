/** When a worker that nobody can say anything of counts as gone. */

export type AbsenceVerdict =
  | { readonly gone: true }
  /** Look again then. */
  | { readonly gone: false; readonly since: number; readonly askAt: number };

/**
 * Its host has no lease and it does not answer itself: it may be dead, or cut off and running its job to the end. Without
 * contact it ends itself within the grace, so only then is it certain that nothing of it runs. `since` is when that was
 * first found; null: now.
 */
export function decideAbsence(since: number | null, graceMs: number, now: number): AbsenceVerdict {
  const from = since ?? now;
  return now >= from + graceMs
    ? { gone: true }
    : { gone: false, since: from, askAt: from + graceMs };
}
