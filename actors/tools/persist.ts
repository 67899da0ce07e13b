/** Repeats a step until it succeeds, fails for good, or its time is up. */
import { asBerthError, type BerthError } from "../../protocols/errors.ts";
import type { Clock } from "../../runtime/clock.ts";

const FIRST_PAUSE_MS = 25;
const MAX_PAUSE_MS = 1_000;

/** Rejects with the step's last error. An abort ends it with that error too. */
export async function persist<T>(
  step: () => Promise<T>,
  until: {
    readonly clock: Clock;
    readonly windowMs: number;
    readonly signal: AbortSignal;
    readonly mayRetry: (error: BerthError) => boolean;
  },
): Promise<T> {
  const { clock, windowMs, signal, mayRetry } = until;
  const end = clock.monotonic() + windowMs;
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(MAX_PAUSE_MS, pauseMs * 2)) {
    try {
      return await step();
    } catch (thrown) {
      const error = asBerthError(thrown);
      const left = end - clock.monotonic();
      if (signal.aborted || left <= 0 || !mayRetry(error)) throw error;
      await clock.sleep(Math.min(pauseMs, left), signal);
    }
  }
}
