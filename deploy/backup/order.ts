/** Which streams are Berth's, and in which order they are saved and restored. Pure. */
import { BUCKETS, STREAMS } from "../../protocols/subjects.ts";

const bucketStream = (bucket: keyof typeof BUCKETS) => `KV_${BUCKETS[bucket]}`;

/** What begins so is ours, also what this build does not know. */
export const OUR_PREFIXES = ["BERTH_", "KV_berth-"] as const;

/** Leases are of processes, and processes are not restored. */
export const LEASES = bucketStream("nodes");

/** Who owns what, and the hold. */
export const CLAIMS = bucketStream("partitions");

export const ACCOUNTS = bucketStream("accounts");

/** Only what owners of partitions write: during the cut none of them may grow. */
export const STILL_STREAMS: readonly string[] = [
  bucketStream("actors"),
  STREAMS.journal,
  bucketStream("checkpoints"),
];

/**
 * Gateways write while the cut is made: first a bucket, then the mail that follows from it, and the audit trail before both. So mail
 * comes first and buckets later: no saved message speaks of what is not saved. The trail comes last: it lacks no act.
 */
const FIRST = [STREAMS.mail, STREAMS.reminders, ...STILL_STREAMS] as const;

/** Most of all that there is, and only ever appended to: what was appended after the cut is taken off again when it is restored. */
export const CUT_OFF: string = STREAMS.journal;
const LAST: readonly string[] = [CUT_OFF, STREAMS.audit];

export interface SavingOrder {
  /** While nobody owns a partition. */
  readonly still: readonly string[];
  /** Afterwards: what may grow meanwhile. */
  readonly after: readonly string[];
}

export function decideSaving(names: readonly string[]): SavingOrder {
  const kept = names.filter((name) => name !== LEASES);
  const first = FIRST.filter((name) => kept.includes(name) && !LAST.includes(name));
  const after = LAST.filter((name) => kept.includes(name));
  const placed = new Set<string>([...first, ...after]);
  const rest = kept.filter((name) => !placed.has(name)).toSorted();
  return { still: [...first, ...rest], after };
}

/** By them nodes and gateways tell whether there is a deployment. */
const SIGNS = [STREAMS.mail, STREAMS.journal] as const;

/** Claims come first, with a hold on them: a node that starts in between takes nothing. What all look for comes last. */
export function decideRestoring(names: readonly string[]): string[] {
  const signs = SIGNS.filter((name) => names.includes(name));
  const placed = new Set<string>([CLAIMS, ...signs]);
  const middle = names.filter((name) => !placed.has(name)).toSorted();
  return [...names.filter((name) => name === CLAIMS), ...middle, ...signs];
}
