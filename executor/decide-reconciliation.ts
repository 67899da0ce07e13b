/**
 * What a host does about the difference between what is on record and what lives. Invariants:
 * W1 what is on record for this host, or for a host not chosen yet, is never ended here.
 * W2 one incarnation lives on one host: what is on record for another one ends here.
 * W3 what is on nobody's record ends, unless its supervisor owns it all the same or cannot be asked.
 * W4 lost is what was up here by its record and has not been seen since, neither alive nor starting. What starts or stops
 *    has somebody who waits for it.
 */
import type { WorkerRecord } from "../protocols/executor.ts";

/** What one pass saw, in the order in which it looked. */
export interface Sighting {
  readonly node: string;
  /** Workers that lived before the records were read: what was started since is on record, or is not in here. */
  readonly before: ReadonlySet<string>;
  readonly records: readonly WorkerRecord[];
  /** Of those that lived and are not on record: the ones that their supervisors own, or may own. */
  readonly owned: ReadonlySet<string>;
  /** Workers that live or start after the records were read: what is up by its record and not in here has ended. */
  readonly after: ReadonlySet<string>;
}

export interface Reconciliation {
  readonly end: readonly string[];
  readonly lost: readonly WorkerRecord[];
}

const UP: ReadonlySet<WorkerRecord["phase"]> = new Set(["idle", "busy", "draining"]);

export function decideReconciliation(sighting: Sighting): Reconciliation {
  const { node, before, records, owned, after } = sighting;
  const hosts = new Map(records.map(({ id, host }) => [id, host]));
  const isWanted = (worker: string) => {
    const host = hosts.get(worker);
    if (host === undefined) return owned.has(worker); // W3
    return host === null || host === node; // W1, W2
  };
  const isLost = ({ id, host, phase }: WorkerRecord) =>
    host === node && UP.has(phase) && !after.has(id); // W4
  return {
    end: [...before].filter((worker) => !isWanted(worker)),
    lost: records.filter(isLost),
  };
}

/** Those that live and are not on record: their supervisors are to be asked. */
export function unrecorded(
  before: ReadonlySet<string>,
  records: readonly WorkerRecord[],
): readonly string[] {
  const known = new Set(records.map(({ id }) => id));
  return [...before].filter((worker) => !known.has(worker));
}
