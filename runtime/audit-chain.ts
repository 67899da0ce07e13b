/**
 * A tenant's audit chain, sealed and verified. Pure, so that an export is checked far from any server.
 *
 * C1 Each entry names the hash of the one in front of it and its own number: nothing is changed, removed or moved
 *    between two entries that are both there without a hash that does not fit.
 * C2 What has been pruned is bounded by the retention: the first entry that is left says when its predecessor was made.
 * C3 An end that was cut off, and a chain that was sealed anew as a whole, show against an anchor that was kept elsewhere.
 */
import { createHash } from "node:crypto";
import type { Act, AuditEntry } from "../protocols/audit.ts";
import { canonicalJson } from "../protocols/canonical-json.ts";

/** In front of the first entry. */
export const GENESIS_HASH = "0".repeat(64);
/** Clocks of writers and of the broker, which prunes, may differ by so much. */
const SLACK_MS = 5 * 60_000;

export type Link = Pick<AuditEntry, "seq" | "hash" | "time">;

export function hashEntry(entry: Omit<AuditEntry, "hash"> & { readonly hash?: string }): string {
  const { hash: _, ...rest } = entry;
  return createHash("sha256").update(canonicalJson(rest)).digest("hex");
}

/** The entry that follows `previous`; undefined starts the chain. */
export function sealEntry(
  act: Act,
  at: { readonly id: string; readonly time: string; readonly previous: Link | undefined },
): AuditEntry {
  const { id, time, previous } = at;
  const open = {
    id,
    seq: (previous?.seq ?? 0) + 1,
    time,
    tenant: act.tenant,
    actor: act.actor,
    act: act.act,
    target: act.target,
    outcome: act.outcome,
    code: act.code ?? null,
    count: act.count ?? 1,
    request: act.request ?? null,
    source: act.source ?? null,
    detail: { ...act.detail },
    prev_hash: previous?.hash ?? GENESIS_HASH,
    prev_time: previous?.time ?? null,
  };
  return { ...open, hash: hashEntry(open) };
}

/** An entry that was seen at some time, noted where nobody who may write the trail can change it. */
export interface Anchor {
  readonly seq: number;
  readonly hash: string;
}

/** `12:3f...`, as `berth audit verify` prints and takes it; undefined when it is not one. */
export function parseAnchor(text: string): Anchor | undefined {
  const [, seq, hash = ""] = /^([1-9]\d{0,14}):([0-9a-f]{64})$/.exec(text) ?? [];
  return seq === undefined ? undefined : { seq: Number(seq), hash };
}

export function formatAnchor({ seq, hash }: Anchor): string {
  return `${seq}:${hash}`;
}

export interface Fault {
  /** The first entry that is not as it was written, or that is not there. */
  readonly seq: number;
  readonly kind: "changed" | "removed" | "reordered";
  readonly message: string;
}

export interface ChainReport {
  readonly entries: number;
  /** Entries in front of the first that is left. */
  readonly pruned: number;
  readonly last: Anchor | undefined;
  readonly fault: Fault | undefined;
}

export interface VerifyOptions {
  readonly anchors?: readonly Anchor[];
  /** How long entries are kept; null is for good, undefined is not known, and then any pruning is taken. */
  readonly retentionMs?: number | null;
  readonly now: number;
}

/** Checks one chain in the order in which it was read, oldest first. */
export function verifyChain(entries: readonly AuditEntry[], options: VerifyOptions): ChainReport {
  const [first] = entries;
  const last = entries.at(-1);
  const report = {
    entries: entries.length,
    pruned: first === undefined ? 0 : Math.max(0, first.seq - 1),
    last: last && { seq: last.seq, hash: last.hash },
  };
  const fault =
    linkFault(entries) ??
    (first && pruningFault(first, options)) ??
    anchorFault(entries, options.anchors ?? []);
  return { ...report, fault };
}

/** C1. */
function linkFault(entries: readonly AuditEntry[]): Fault | undefined {
  let previous: AuditEntry | undefined;
  for (const entry of entries) {
    const { seq } = entry;
    if (previous && seq <= previous.seq) {
      return fault(seq, "reordered", `entry ${seq} stands behind entry ${previous.seq}`);
    }
    if (previous && seq > previous.seq + 1) {
      const missing = previous.seq + 1;
      return fault(missing, "removed", `entry ${missing} is missing in front of entry ${seq}`);
    }
    if (hashEntry(entry) !== entry.hash) {
      return fault(seq, "changed", `entry ${seq} does not have the content of its hash`);
    }
    if (previous && entry.prev_hash !== previous.hash) {
      return fault(previous.seq, "changed", `entry ${seq} names another entry ${previous.seq}`);
    }
    previous = entry;
  }
  return undefined;
}

/** C2. */
function pruningFault(first: AuditEntry, { now, retentionMs }: VerifyOptions): Fault | undefined {
  if (first.seq === 1) {
    if (first.prev_hash === GENESIS_HASH) return undefined;
    return fault(1, "changed", "entry 1 names an entry in front of it");
  }
  const before = first.seq - 1;
  if (retentionMs === undefined) return undefined;
  const goneAt = retentionMs === null ? undefined : Date.parse(first.prev_time ?? "") + retentionMs;
  if (goneAt !== undefined && goneAt <= now + SLACK_MS) return undefined;
  return fault(before, "removed", `entry ${before} is missing and has not passed its retention`);
}

/** C3. */
function anchorFault(
  entries: readonly AuditEntry[],
  anchors: readonly Anchor[],
): Fault | undefined {
  const bySeq = new Map(entries.map((entry) => [entry.seq, entry.hash]));
  const [first] = entries;
  if (first) bySeq.set(first.seq - 1, first.prev_hash);
  const lastSeq = entries.at(-1)?.seq ?? 0;
  for (const { seq, hash } of anchors.toSorted((a, b) => a.seq - b.seq)) {
    if (seq > lastSeq) {
      return fault(lastSeq + 1, "removed", `the chain ends at ${lastSeq}; entry ${seq} was seen`);
    }
    const found = bySeq.get(seq);
    if (found !== undefined && found !== hash) {
      return fault(seq, "changed", `entry ${seq} is not the one that was seen`);
    }
  }
  return undefined;
}

function fault(seq: number, kind: Fault["kind"], message: string): Fault {
  return { seq, kind, message };
}
