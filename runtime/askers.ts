/**
 * Which asks and tells of its clients an actor has handled, so that one that is sent again is handled once (R3).
 *
 * A client numbers its asks to one actor one by one, and so its tells on each lane, and says with each up to which number all are over for it: it
 * will send none of those again. So an actor needs to know only what it has handled above that, as ranges, for the
 * numbers of a client hardly have gaps. Pure.
 */
import { z } from "zod";
import type { SentBy } from "../protocols/envelope.ts";

const askerSchema = z.object({
  /** Every number up to this one is over. */
  settled: z.number(),
  /** Handled above it: ascending, not touching. */
  handled: z.array(z.tuple([z.number(), z.number()])),
  /** When it last asked (ms). */
  at: z.number(),
});
export const askersSchema = z.record(z.string(), askerSchema);
export type Askers = z.infer<typeof askersSchema>;
type Range = [number, number];

/** An ask's time is over long before. */
const KEPT_MS = 120_000;
const MAX_CLIENTS = 256;
const MAX_RANGES = 64;

export function wasHandled(askers: Askers, [client, n]: SentBy): boolean {
  const known = askers[client];
  if (!known) return false;
  return n <= known.settled || known.handled.some(([from, to]) => from <= n && n <= to);
}

/** With that ask handled; without clients that were silent for long. Leaves `askers` as it is. */
export function addHandled(askers: Askers, [client, n, settled]: SentBy, now: number): Askers {
  const known = askers[client];
  const over = Math.max(settled, known?.settled ?? 0);
  const handled = bounded(joined([...(known?.handled ?? []), [n, n]], over));
  const others = Object.entries(askers).filter(
    ([name, { at }]) => name !== client && now - at < KEPT_MS,
  );
  const kept = others.length < MAX_CLIENTS ? others : youngest(others);
  return { ...Object.fromEntries(kept), [client]: { settled: over, handled, at: now } };
}

const youngest = (entries: [string, Askers[string]][]) =>
  entries.toSorted(([, a], [, b]) => b.at - a.at).slice(0, MAX_CLIENTS - 1);

function joined(ranges: Range[], above: number): Range[] {
  const sorted = ranges
    .filter(([, to]) => to > above)
    .map(([from, to]): Range => [Math.max(from, above + 1), to])
    .toSorted(([a], [b]) => a - b);
  const result: Range[] = [];
  for (const range of sorted) {
    const last = result.at(-1);
    if (last && range[0] <= last[1] + 1) last[1] = Math.max(last[1], range[1]);
    else result.push(range);
  }
  return result;
}

/** Too many gaps: the lowest is closed. What is in it counts as handled, so it is told as lost instead of done twice. */
function bounded(ranges: Range[]): Range[] {
  const [first, second, ...others] = ranges;
  if (!first || !second || ranges.length <= MAX_RANGES) return ranges;
  return [[first[0], second[1]], ...others];
}
