/**
 * Things that were just made. An accepted job's record and session appear moments after the answer that
 * names them, so a lookup of an id whose own time stamp is that young waits a little before it fails.
 */
import { decodeTime } from "ulid";
import type { Clock } from "../runtime/clock.ts";

/** Clock difference between gateways that is forgiven. */
const SKEW_MS = 5_000;
const FIRST_PAUSE_MS = 5;
const ULID_CHARS = 26;

/** Whether the id, `prefix_ULID`, was made less than `freshMs` ago. Pure. */
export function isFresh(id: string, now: number, freshMs: number): boolean {
  const ulid = id.slice(id.indexOf("_") + 1);
  // A greater first digit is a time that no ULID can hold.
  if (ulid.length !== ULID_CHARS || ulid.charAt(0) > "7") return false;
  return Math.abs(now - decodeTime(ulid)) < freshMs + SKEW_MS;
}

/** `look`, repeated for as long as it finds nothing and the id is fresh. */
export async function awaitFresh<T>(
  deps: { readonly clock: Clock; readonly freshMs: number },
  id: string,
  look: () => Promise<T | undefined>,
): Promise<T | undefined> {
  const start = deps.clock.monotonic();
  let pauseMs = FIRST_PAUSE_MS;
  for (;;) {
    const found = await look();
    if (found !== undefined || !isFresh(id, deps.clock.now(), deps.freshMs)) return found;
    if (deps.clock.monotonic() - start > deps.freshMs) return undefined;
    await deps.clock.sleep(pauseMs);
    pauseMs *= 2;
  }
}
