/**
 * What a node makes of the silence of another: whom it probes, and when it is sure that a process is gone. Pure.
 *
 * A lease that runs out is the last resort: it must outlast pauses, so it is slow. A process that died is known
 * sooner, for its connection closes with it and the broker then has nobody to give a request to. Probing a few
 * successors on a ring, so that the cost does not grow with the square of the nodes, is SWIM's and Orleans' way
 * (Das, Gupta and Motivala, 2002). A wrong verdict costs a hand-over and nothing else: leases fence no write (R1).
 */
import type { NodeRecord } from "../protocols/records.ts";

/** What one look at another node has shown. */
export type Finding =
  /** It answered. */
  | "answered"
  /** It is connected and does not answer: paused or busy. Its lease decides. */
  | "silent"
  /** Nobody listens where it should. */
  | "gone"
  /** It has renewed its lease meanwhile. */
  | "renewed"
  /** We cannot tell: our own connection was lost, or is new. */
  | "blind";

export type Suspicion =
  | { readonly state: "trusted" }
  | { readonly state: "suspected"; readonly since: number; readonly misses: number }
  /** Its lease is to be removed, if it is still the one that was seen. */
  | { readonly state: "condemned" };

export const TRUSTED: Suspicion = { state: "trusted" };

/** Successors that each node probes: one is enough while one dies at a time. */
const PROBED = 2;
/** A live client that lost its connection is back well within this. */
const GRACE_MS = 1_000;
const MIN_MISSES = 3;
/** A node that was condemned while it lived is given twice the time at each repetition, up to this factor. */
const MAX_PATIENCE = 16;

/** How long a node must be gone without a break. `evictions` says how often it was condemned and came back. */
export function graceMs(evictions: number): number {
  return GRACE_MS * Math.min(MAX_PATIENCE, 2 ** evictions);
}

/**
 * | from      | answered, silent, renewed, blind | gone                                              |
 * |-----------|----------------------------------|---------------------------------------------------|
 * | trusted   | trusted                          | suspected                                         |
 * | suspected | trusted                          | condemned after three misses and the grace, else suspected |
 * | condemned | trusted                          | condemned                                         |
 */
export function decideSuspicion(
  before: Suspicion,
  finding: Finding,
  at: { readonly now: number; readonly evictions: number },
): Suspicion {
  if (finding !== "gone") return TRUSTED;
  switch (before.state) {
    case "trusted":
      return { state: "suspected", since: at.now, misses: 1 };
    case "suspected": {
      const misses = before.misses + 1;
      const isSure = misses >= MIN_MISSES && at.now - before.since >= graceMs(at.evictions);
      return isSure ? { state: "condemned" } : { ...before, misses };
    }
    case "condemned":
      return before;
  }
}

/** The next nodes after `self` on the ring of ids, of those that answer probes at all. */
export function decideProbed(self: string, nodes: Iterable<NodeRecord>): NodeRecord[] {
  const others = [...nodes]
    .filter(({ evictions, id }) => id !== self && evictions !== undefined)
    .toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const first = others.findIndex(({ id }) => id > self);
  const from = Math.max(0, first);
  return [...others.slice(from), ...others.slice(0, from)].slice(0, PROBED);
}
