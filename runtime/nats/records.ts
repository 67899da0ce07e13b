/** Actors' records on JetStream: the latest in a KV bucket, or every one in the journal. */
import type { JetStreamClient } from "@nats-io/jetstream";
import type { ActorRef } from "../../protocols/ids.ts";
import { partitionOf } from "../../protocols/partition.ts";
import { BUCKETS, refOfSubject, STREAMS, subjects } from "../../protocols/subjects.ts";
import type { OpenRecord, OpenWork, Records } from "../transport.ts";
import { type DirectBatchParts, readDirectBatch } from "./direct-batch.ts";
import { fromNats, isNotFound } from "./errors.ts";
import { readNewest } from "./newest.ts";
import type { Publisher } from "./publisher.ts";

const RECORDS_STREAM = `KV_${BUCKETS.actors}`;
/** On records whose outbox or effects are open: found again by a take-over without reading bodies. */
const PENDING_HEADER = "Berth-Pending";
const PENDING_FORM = /^epoch=(\d+)( outbox)?( effects)?$/;

function writePending({ epoch, outbox, effects }: OpenWork): string {
  return `epoch=${epoch}${outbox ? " outbox" : ""}${effects ? " effects" : ""}`;
}

/** What is not understood is open, under an epoch that no checkpoint knows. */
function readPending(text: string): OpenWork {
  const [, epoch, outbox, effects] = PENDING_FORM.exec(text) ?? [];
  if (epoch === undefined) {
    return { epoch: Number.MAX_SAFE_INTEGER, outbox: true, effects: true };
  }
  return { epoch: Number(epoch), outbox: outbox !== undefined, effects: effects !== undefined };
}

interface Collaborators extends DirectBatchParts {
  readonly js: JetStreamClient;
  readonly partitions: number;
  readonly publisher: Publisher;
}

export function natsRecords(parts: Collaborators): Records {
  const { js, jsm, partitions, inFlight, publisher } = parts;
  const subjectOf = (ref: ActorRef, journaled: boolean) => {
    const partition = partitionOf(ref, partitions);
    return journaled ? subjects.journal(partition, ref) : subjects.record(partition, ref);
  };
  return {
    async load(ref, journaled) {
      const stream = journaled ? STREAMS.journal : RECORDS_STREAM;
      try {
        const query = { last_by_subj: subjectOf(ref, journaled) };
        const found = await inFlight.guard(jsm.streams.getMessage(stream, query));
        return found ? { revision: found.seq, data: found.data } : undefined;
      } catch (thrown) {
        if (isNotFound(thrown)) return undefined;
        throw fromNats(thrown);
      }
    },

    commit(ref, data, options) {
      const { expected, pending } = options;
      const others = pending ? { [PENDING_HEADER]: writePending(pending) } : {};
      return publisher.publish(subjectOf(ref, options.journaled), data, { expected, others });
    },

    async *pending(partition, place) {
      for (const [stream, filter, after] of [
        [RECORDS_STREAM, subjects.recordsOfPartition(partition), place?.records],
        [STREAMS.journal, subjects.journalOfPartition(partition), place?.journal],
      ] as const) {
        const newest = new Map<string, OpenRecord>();
        const query = { stream, filter, headersOnly: true, after };
        for await (const { subject, seq, headers } of readNewest({ js, jsm }, query)) {
          const marked = headers?.get(PENDING_HEADER);
          if (!marked) newest.delete(subject);
          else
            newest.set(subject, {
              ref: refOfSubject(subject),
              revision: seq,
              journaled: stream === STREAMS.journal,
              ...readPending(marked),
            });
        }
        yield* newest.values();
      }
    },

    async journal(ref, fromRevision, limit) {
      const pages = await readDirectBatch(parts, STREAMS.journal, {
        seq: Math.max(1, fromRevision),
        next_by_subj: subjectOf(ref, true),
        batch: limit,
      });
      return pages.map(({ seq, data }) => ({ revision: seq, data }));
    },
  };
}
