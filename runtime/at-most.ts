import type { Clock } from "./clock.ts";

/** Waits for `work`, but not longer; what it comes to, a rejection too, is then nobody's. For farewells while the broker may be away. */
export async function atMost(clock: Clock, ms: number, work: Promise<unknown>): Promise<void> {
  const limit = new AbortController();
  const settled = work.catch(() => undefined);
  await Promise.race([settled, clock.sleep(ms, limit.signal)]);
  limit.abort();
}
