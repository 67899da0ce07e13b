/** Waits for a condition instead of a time. */
import { setTimeout as sleep } from "node:timers/promises";
import { systemClock } from "../clock.ts";

const PAUSE_MS = 10;
const DEFAULT_WITHIN_MS = 10_000;

/**
 * Calls `probe` until it neither throws nor returns `false`, and gives back what it returned. After `within` (10 s) it
 * fails with `name` and the last error; a probe that hangs counts against the same bound.
 */
export async function eventually<T>(
  probe: () => T | Promise<T>,
  options: { readonly within?: number; readonly name?: string } = {},
): Promise<Exclude<T, false>> {
  const within = options.within ?? DEFAULT_WITHIN_MS;
  const deadline = systemClock.monotonic() + within;
  let last: unknown = new Error("it stayed false");
  do {
    try {
      const value = await bounded(probe, deadline - systemClock.monotonic());
      if (value !== false) return value as Exclude<T, false>;
    } catch (thrown) {
      last = thrown;
    }
    await sleep(PAUSE_MS);
  } while (systemClock.monotonic() < deadline);
  const why = last instanceof Error ? last.message : String(last);
  throw new Error(`not within ${within} ms: ${options.name ?? "condition"} (${why})`, {
    cause: last,
  });
}

async function bounded<T>(probe: () => T | Promise<T>, ms: number): Promise<T> {
  const settled = new AbortController();
  const late = sleep(Math.max(1, ms), undefined, { signal: settled.signal }).then(
    () => Promise.reject(new Error("it did not settle")),
    () => new Promise<never>(() => {}),
  );
  try {
    return await Promise.race([probe(), late]);
  } finally {
    settled.abort();
  }
}
