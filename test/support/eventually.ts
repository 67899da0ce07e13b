/** Waits for a condition instead of a time. */
import { setTimeout as sleep } from "node:timers/promises";

const PAUSE_MS = 10;

/**
 * Calls `probe` until it neither throws nor returns `false`, and gives back what it returned. After `within` (5 s) it
 * fails with `name` and the last error.
 */
export async function eventually<T>(
  probe: () => T | Promise<T>,
  options: { readonly within?: number; readonly name?: string } = {},
): Promise<Exclude<T, false>> {
  const within = options.within ?? 5_000;
  const deadline = performance.now() + within;
  let last: unknown = new Error("it stayed false");
  do {
    try {
      const value = await probe();
      if (value !== false) return value as Exclude<T, false>;
    } catch (thrown) {
      last = thrown;
    }
    await sleep(PAUSE_MS);
  } while (performance.now() < deadline);
  const why = last instanceof Error ? last.message : String(last);
  throw new Error(`not within ${within} ms: ${options.name ?? "condition"} (${why})`, {
    cause: last,
  });
}
