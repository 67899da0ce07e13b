/** What becomes of a job whose attempt was lost: its worker died, never answered, or refused it for now. */

export type LostVerdict = "cancelled" | "retry" | "interrupted";

/**
 * A cancelled job is not run again. A job whose agent has not started had no effect, so it is tried again,
 * once; one whose agent ran may have had any effect, so only its user can say whether to repeat it.
 */
export function decideRetry(
  lost: { readonly attempt: number; readonly started: boolean; readonly cancelRequested: boolean },
  maxAttempts: number,
): LostVerdict {
  if (lost.cancelRequested) return "cancelled";
  return !lost.started && lost.attempt < maxAttempts ? "retry" : "interrupted";
}
