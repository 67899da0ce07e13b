/** Waits for a condition: the only way in which a test waits. */
import { setTimeout as pause } from "node:timers/promises";

export interface Eventually {
  /** What is waited for, as the failure names it. */
  readonly name: string;
  /** Milliseconds until the wait fails. */
  readonly within?: number;
}

const DEFAULT_WITHIN_MS = 10_000;
const FIRST_PAUSE_MS = 5;
const LONGEST_PAUSE_MS = 100;

/**
 * Calls `fn` until it neither throws nor gives `false`, and resolves with what it gave. A call that hangs counts
 * against the same bound. Fails with the name and the last error.
 */
export async function eventually<T>(
  fn: () => T | Promise<T>,
  options: Eventually,
): Promise<Exclude<T, false>> {
  const within = options.within ?? DEFAULT_WITHIN_MS;
  const until = performance.now() + within;
  let last: unknown = "it was never tried";
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2)) {
    try {
      const value = await bounded(fn, until - performance.now());
      if (value !== false) return value as Exclude<T, false>;
      last = "it gave false";
    } catch (thrown) {
      last = thrown;
    }
    if (performance.now() + pauseMs > until) break;
    await pause(pauseMs);
  }
  const reason = last instanceof Error ? last.message : String(last);
  throw new Error(`not within ${within} ms: ${options.name}\nlast: ${reason}`, { cause: last });
}

async function bounded<T>(fn: () => T | Promise<T>, ms: number): Promise<T> {
  const stop = new AbortController();
  const late = pause(Math.max(1, ms), undefined, { signal: stop.signal }).then(
    () => Promise.reject(new Error("it did not settle")),
    () => new Promise<never>(() => {}),
  );
  try {
    return await Promise.race([fn(), late]);
  } finally {
    stop.abort();
  }
}
