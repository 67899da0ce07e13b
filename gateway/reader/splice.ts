/** Decisions of a reader that joins history and live events into one gapless stream. Pure. */

export interface Span {
  readonly first: number;
  readonly last: number;
}

/** What a live page does to the tail that is kept in memory. */
export type Arrival =
  /** Had already: a page that came twice. */
  | "ignore"
  /** Goes on where the tail ends. */
  | "append"
  /** Pages are missing between: the tail starts again here, and readers before it go to the journal. */
  | "restart";

export function decideArrival(tailLast: number | undefined, page: Span): Arrival {
  if (tailLast === undefined) return "restart";
  if (page.last <= tailLast) return "ignore";
  return page.first <= tailLast + 1 ? "append" : "restart";
}

export type Step =
  /** The next event is in the tail. */
  | "tail"
  /** It has to be read from the journal. */
  | "journal"
  /** There is none yet. */
  | "wait";

/**
 * Where a reader finds the event after `cursor`. `verified` says that the journal was read to its end
 * since the live feed was last known to be whole.
 */
export function decideStep(reader: {
  readonly cursor: number;
  readonly verified: boolean;
  readonly tail: Span | undefined;
}): Step {
  const { cursor, verified, tail } = reader;
  if (!tail || cursor >= tail.last) return verified ? "wait" : "journal";
  return tail.first <= cursor + 1 ? "tail" : "journal";
}

/** What is missing in front of the first event found after `cursor`; undefined when nothing is. */
export function decideGap(cursor: number, found: number): { readonly oldest: number } | undefined {
  return found > cursor + 1 ? { oldest: found } : undefined;
}

/** The journal revision to read from: that of the newest mark at or before the event after `cursor`; 0 is the start. */
export function decideRevision(
  index: readonly (readonly [number, number])[],
  cursor: number,
): number {
  let revision = 0;
  for (const [seq, at] of index) {
    if (seq > cursor + 1) break;
    revision = at;
  }
  return revision;
}

const MIN_PAGES = 4;
const MAX_PAGES = 128;
const SMALL_BYTES = 256 * 1024;
const LARGE_BYTES = 2 * 1024 ** 2;

/** How many records to read next, so that one reading stays near a megabyte whatever the records' size. */
export function decidePageCount(count: number, bytes: number): number {
  if (bytes > LARGE_BYTES) return Math.max(MIN_PAGES, Math.floor(count / 2));
  if (bytes < SMALL_BYTES) return Math.min(MAX_PAGES, count * 2);
  return count;
}
