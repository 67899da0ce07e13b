/** What one client knows at the end of a run: what it was promised, to be held against what is there. */
import type { Operation } from "../../runtime/testkit/history.ts";

/** Tells that a sender numbered 1, 2, 3 ... to one actor, each sent until it was acknowledged. */
export interface Told {
  readonly kind: "ledger" | "relay" | "frail";
  readonly key: string;
  readonly sender: string;
  /** The highest acknowledged number; all below are too. */
  acked: number;
  /** Sent and given up without an answer: may or may not be there. */
  unsure: number;
}

export interface ReminderSet {
  readonly key: string;
  readonly name: string;
  /** Its `cancel` was acknowledged as well. */
  cancelled: boolean;
}

export interface Flood {
  readonly key: string;
  accepted: number;
  /** Sent and given up without an answer. */
  unsure: number;
  /** Refused with `actor.mailbox_full`. */
  full: number;
}

export interface Findings {
  /** Of counters (`counter:`) and registers (`register:`). */
  readonly operations: readonly Operation[];
  readonly told: readonly Told[];
  readonly reminders: readonly ReminderSet[];
  /** Acknowledged messages that no handler bears. */
  readonly poisons: readonly string[];
  readonly floods: readonly Flood[];
  readonly tally: Tally;
}

/** By kind of operation: how many ended well, and how many with each error code. */
export type Tally = Readonly<Record<string, Readonly<Record<string, number>>>>;

export function addTallies(tallies: readonly Tally[]): Tally {
  const sum: Record<string, Record<string, number>> = {};
  for (const tally of tallies) {
    for (const [kind, counts] of Object.entries(tally)) {
      const row = sum[kind] ?? {};
      sum[kind] = row;
      for (const [code, count] of Object.entries(counts)) row[code] = (row[code] ?? 0) + count;
    }
  }
  return sum;
}

export function totalOf(tally: Tally): { readonly ok: number; readonly failed: number } {
  let ok = 0;
  let failed = 0;
  for (const counts of Object.values(tally)) {
    for (const [code, count] of Object.entries(counts)) {
      if (code === "ok") ok += count;
      else failed += count;
    }
  }
  return { ok, failed };
}
