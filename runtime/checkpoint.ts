/**
 * Where the recovery of a partition begins: a fuzzy checkpoint as in ARIES (Mohan et al., 1992), with revisions for
 * log sequence numbers. It stands in a bucket under the partition's number, written by the owner about once a second
 * and read by the next one. An old or missing one makes a recovery look further back and send more again, never less.
 * Pure.
 */
import { z } from "zod";
import type { Place } from "./transport.ts";

const placeSchema = z.object({ records: z.number(), journal: z.number() });

export const checkpointSchema = z.object({
  /**
   * Ascending by epoch. A row is about records written under its epoch, and under those since the row before: their
   * outboxes are sent up to these revisions.
   */
  sent: z.array(z.object({ epoch: z.number(), upTo: placeSchema })),
  /** Records with open work are above this place or in `running`. */
  from: placeSchema,
  /** Actors at or below `from` with an open effect. */
  running: z.array(z.string()),
});
export type Checkpoint = z.infer<typeof checkpointSchema>;

/** Rows kept: there is one more for each owner that did not live long enough to finish its recovery. */
const MAX_ROWS = 32;
/** Names kept in `running`. With more, a recovery begins further back instead. */
const MAX_RUNNING = 500;

const START: Place = { records: 0, journal: 0 };
export const NO_CHECKPOINT: Checkpoint = { sent: [], from: START, running: [] };

const streamOf = (journaled: boolean) => (journaled ? "journal" : "records");

/** Whether the outbox of a record is known to be sent. */
export function isSent(
  { sent }: Pick<Checkpoint, "sent">,
  record: { readonly epoch: number; readonly revision: number; readonly journaled: boolean },
): boolean {
  const row = sent.find(({ epoch }) => epoch >= record.epoch);
  return row !== undefined && record.revision <= row.upTo[streamOf(record.journaled)];
}

/** What an owner knows of its own commits, by stream. */
export interface Progress {
  readonly upTo: number;
  readonly running: readonly (readonly [name: string, revision: number])[];
}

/**
 * The checkpoint of an owner. `before` is the one it found; it holds until `isRecovered`, for until then what it
 * names may still be open.
 */
export function checkpointOf(
  before: Checkpoint,
  own: {
    readonly epoch: number;
    readonly records: Progress;
    readonly journal: Progress;
    readonly isRecovered: boolean;
  },
): Checkpoint {
  const { epoch, records, journal } = own;
  const upTo = { records: records.upTo, journal: journal.upTo };
  const kept = before.sent.filter((row) => row.epoch < epoch);
  const running = [
    ...records.running.slice(0, MAX_RUNNING),
    ...journal.running.slice(0, MAX_RUNNING),
  ];
  const names = running.map(([name]) => name);
  return {
    sent: bounded([...kept, { epoch, upTo }]),
    from: own.isRecovered ? { records: fromOf(records), journal: fromOf(journal) } : before.from,
    running: own.isRecovered ? names : [...new Set([...before.running, ...names])],
  };
}

/** After a look at every record: older owners' outboxes are sent up to `place`. */
export function settled(before: Checkpoint, epoch: number, place: Place): Checkpoint {
  return { ...before, sent: [{ epoch: epoch - 1, upTo: place }] };
}

/** The greatest revisions that a checkpoint names: every later commit gets a higher one. */
export function highest({ sent, from }: Checkpoint): Place {
  const places = [from, ...sent.map(({ upTo }) => upTo)];
  return {
    records: Math.max(...places.map(({ records }) => records)),
    journal: Math.max(...places.map(({ journal }) => journal)),
  };
}

/** `running` is sorted: what it cannot name lies above. */
function fromOf({ upTo, running }: Progress): number {
  const unnamed = running[MAX_RUNNING];
  return unnamed ? Math.min(upTo, unnamed[1] - 1) : upTo;
}

/** Too many rows: the two oldest become one that claims no more than either did. */
function bounded(rows: Checkpoint["sent"]): Checkpoint["sent"] {
  const [first, second, ...others] = rows;
  if (!first || !second || rows.length <= MAX_ROWS) return rows;
  const upTo = {
    records: Math.min(first.upTo.records, second.upTo.records),
    journal: Math.min(first.upTo.journal, second.upTo.journal),
  };
  return [{ epoch: second.epoch, upTo }, ...others];
}
