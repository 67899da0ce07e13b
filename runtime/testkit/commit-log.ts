/** What the broker has stored of every actor, in order: where R1 is seen to hold, whoever wrote. */
import { refName } from "../../protocols/ids.ts";
import { decodeRecord } from "../record.ts";
import type { Transport } from "../transport.ts";
import type { Violation } from "./scenario.ts";

export interface StoredCommit {
  readonly actor: string;
  readonly revision: number;
  readonly epoch: number;
  readonly writer: string;
  readonly commit: number;
}

export class CommitLog {
  readonly commits: StoredCommit[] = [];

  /** The same transport; what its commits store is seen here. */
  watch(transport: Transport): Transport {
    const { records } = transport;
    return {
      ...transport,
      records: {
        ...records,
        load: (ref, journaled) => records.load(ref, journaled),
        commit: async (ref, data, options) => {
          const revision = await records.commit(ref, data, options);
          const { epoch, writer, commit } = decodeRecord(data);
          this.commits.push({ actor: refName(ref), revision, epoch, writer, commit });
          return revision;
        },
      },
    };
  }

  /** R1: epochs never go back, an epoch has one writer per actor, and each commit stands on the one before. */
  check(): Violation[] {
    const last = new Map<string, StoredCommit>();
    const found: Violation[] = [];
    for (const stored of this.commits) {
      const before = last.get(stored.actor);
      last.set(stored.actor, stored);
      const what = flawOf(before, stored);
      if (what) found.push({ rule: "R1", message: `${stored.actor}: ${what}` });
    }
    return found;
  }
}

function flawOf(before: StoredCommit | undefined, stored: StoredCommit): string | undefined {
  const expected = (before?.commit ?? 0) + 1;
  if (before && stored.epoch < before.epoch)
    return `epoch ${stored.epoch} was stored after epoch ${before.epoch}`;
  if (before && stored.epoch === before.epoch && stored.writer !== before.writer)
    return `two writers under epoch ${stored.epoch}`;
  if (stored.commit !== expected)
    return `commit ${stored.commit} of epoch ${stored.epoch} was stored where ${expected} was due`;
  return undefined;
}
