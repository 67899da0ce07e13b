/** Actors' records on JetStream: the latest in a KV bucket, or every one in the journal. */
import type { JetStreamClient, JetStreamManager } from "@nats-io/jetstream";
import type { ActorRef } from "../../protocols/ids.ts";
import { partitionOf } from "../../protocols/partition.ts";
import { BUCKETS, refOfSubject, STREAMS, subjects } from "../../protocols/subjects.ts";
import type { Records, StoredRecord } from "../transport.ts";
import { fromNats, isNotFound } from "./errors.ts";
import type { InFlight } from "./in-flight.ts";
import { readNewest } from "./newest.ts";
import type { Publisher } from "./publisher.ts";

const RECORDS_STREAM = `KV_${BUCKETS.actors}`;
/** On records whose outbox or effects are open: found again by a take-over without reading bodies. */
const PENDING_HEADER = "Berth-Pending";

interface Collaborators {
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
  readonly partitions: number;
  readonly inFlight: InFlight;
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
      const others = pending ? { [PENDING_HEADER]: "1" } : {};
      return publisher.publish(subjectOf(ref, options.journaled), data, { expected, others });
    },

    async *pending(partition) {
      for (const [stream, filter] of [
        [RECORDS_STREAM, subjects.recordsOfPartition(partition)],
        [STREAMS.journal, subjects.journalOfPartition(partition)],
      ] as const) {
        for await (const message of readNewest({ js, jsm }, { stream, filter, headersOnly: true }))
          if (message.headers?.get(PENDING_HEADER)) yield refOfSubject(message.subject);
      }
    },

    async journal(ref, fromRevision, limit) {
      const pages: StoredRecord[] = [];
      try {
        const found = await jsm.direct.getBatch(STREAMS.journal, {
          seq: Math.max(1, fromRevision),
          next_by_subj: subjectOf(ref, true),
          batch: limit,
        });
        for await (const page of found) pages.push({ revision: page.seq, data: page.data });
      } catch (thrown) {
        if (isNotFound(thrown)) return pages;
        throw fromNats(thrown);
      }
      return pages;
    },
  };
}
