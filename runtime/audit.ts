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

/** Of several gateways that write to one chain at once each round leaves one winner. */
const MAX_ROUNDS = 64;
const PATIENCE_MS = 5_000;

export function auditOf({
  store,
  clock,
}: {
  readonly store: AuditStore;
  readonly clock: Clock;
}): Audit {
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
      const late = () => clock.monotonic() >= until;
      const id = `aud_${freshUlid(clock.now())}`;
      try {
        await inTurn(act.tenant, () => append({ store, clock }, act, id, late));
      } catch (thrown) {
        throw new BerthError("audit.unavailable", undefined, { cause: thrown });
      }
    },
  };
}

async function append(
  { store, clock }: { readonly store: AuditStore; readonly clock: Clock },
  act: Act,
  id: string,
  late: () => boolean,
): Promise<void> {
  let last: unknown = new BerthError("broker.unavailable");
  for (let round = 0; round < MAX_ROUNDS && !late(); round += 1) {
    const newest = await store.newest(act.tenant);
    if (newest?.entry.id === id) return; // U3
    const time = new Date(clock.now()).toISOString();
    try {
      const entry = sealEntry(act, { id, time, previous: newest?.entry });
      await store.append(entry, newest?.revision ?? 0); // U2
      return;
    } catch (thrown) {
      const { code } = asBerthError(thrown);
      if (code !== "record.conflict" && code !== "broker.unavailable") throw thrown;
      last = thrown;
    }
  }
  throw last;
}
