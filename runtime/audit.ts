/**
 * The audit trail: who did what that needed a privilege, and who was denied.
 *
 * U1 `record` resolves when the entry is stored, and rejects with `audit.unavailable` when that is not known.
 * U2 Each tenant has one chain whatever the number of writers: an entry is written by compare-and-set on the chain's
 *    own subject, so that of two writers at one place one takes the next place.
 * U3 An entry is in its chain once: a write whose answer was lost is found by the entry's id.
 */
import type { Act, AuditEntry } from "../protocols/audit.ts";
import { asBerthError, BerthError } from "../protocols/errors.ts";
import { sealEntry } from "./audit-chain.ts";
import type { Clock } from "./clock.ts";
import { freshUlid } from "./fresh-ulid.ts";
import { Gate } from "./gate.ts";

export interface Audit {
  record(act: Act): Promise<void>;
}

/** Where chains are kept: append only. */
export interface AuditStore {
  /** The chain's last entry, read from the leader. */
  newest(
    tenant: string,
  ): Promise<{ readonly entry: AuditEntry; readonly revision: number } | undefined>;
  /** Writes if the newest has `expected` as its revision (0: there is none), else `record.conflict`. An id that was stored lately is not stored again. */
  append(entry: AuditEntry, expected: number): Promise<void>;
  /**
   * Entries from a place on, oldest first, at most `limit`. A tenant's places are the numbers of its chain; all
   * chains together have the numbers of their storage.
   */
  read(tenant: string | undefined, from: number, limit: number): Promise<PlacedEntry[]>;
  /** The first place that is there and the last; 1 and 0 when nothing is. */
  bounds(tenant: string | undefined): Promise<{ readonly first: number; readonly last: number }>;
  /** How long entries are kept; null is for good. */
  retentionMs(): Promise<number | null>;
}

export interface PlacedEntry {
  readonly place: number;
  readonly entry: AuditEntry;
}

const PATIENCE_MS = 5_000;
/** Between the tries of one writer. Of several gateways that write to one chain at once each round leaves one winner. */
const PAUSE_MIN_MS = 20;
const PAUSE_MAX_MS = 250;

export interface AuditParts {
  readonly store: AuditStore;
  readonly clock: Clock;
  readonly random: () => number;
}

export function auditOf(parts: AuditParts): Audit {
  const { clock } = parts;
  const gates = new Map<string, { readonly gate: Gate; users: number }>();

  /** Writers of one process wait for each other instead of losing to each other. */
  const inTurn = async (tenant: string, work: () => Promise<void>) => {
    const entry = gates.get(tenant) ?? { gate: new Gate(1), users: 0 };
    gates.set(tenant, entry);
    entry.users += 1;
    try {
      await entry.gate.pass(work);
    } finally {
      entry.users -= 1;
      if (entry.users === 0) gates.delete(tenant);
    }
  };

  return {
    async record(act) {
      const until = clock.monotonic() + PATIENCE_MS;
      const id = `aud_${freshUlid(clock.now())}`;
      try {
        await inTurn(act.tenant, () => append(parts, act, id, until));
      } catch (thrown) {
        throw new BerthError("audit.unavailable", undefined, { cause: thrown });
      }
    },
  };
}

/** Tries until it is stored or the patience ends. */
async function append(parts: AuditParts, act: Act, id: string, until: number): Promise<void> {
  const { clock, random } = parts;
  let last: unknown = new BerthError("broker.unavailable");
  for (let round = 0; clock.monotonic() < until; round += 1) {
    try {
      await appendOnce(parts, act, id);
      return;
    } catch (thrown) {
      const { code } = asBerthError(thrown);
      if (code !== "record.conflict" && code !== "broker.unavailable") throw thrown;
      last = thrown;
    }
    await clock.sleep(Math.min(decidePause(round, random()), until - clock.monotonic()));
  }
  throw last;
}

async function appendOnce({ store, clock }: AuditParts, act: Act, id: string): Promise<void> {
  const newest = await store.newest(act.tenant);
  if (newest?.entry.id === id) return; // U3
  const time = new Date(clock.now()).toISOString();
  const entry = sealEntry(act, { id, time, previous: newest?.entry });
  await store.append(entry, newest?.revision ?? 0); // U2
}

/** Longer from round to round, and never the same for two writers. */
function decidePause(round: number, chance: number): number {
  const longest = Math.min(PAUSE_MAX_MS, PAUSE_MIN_MS * 2 ** (round + 1));
  return PAUSE_MIN_MS + chance * (longest - PAUSE_MIN_MS);
}
