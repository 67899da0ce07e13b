/** Actors' records on JetStream: the latest in a KV bucket, or every one in the journal. */
import type { JetStreamClient, JetStreamManager } from "@nats-io/jetstream";
import { headers } from "@nats-io/transport-node";
import type { ActorRef } from "../../protocols/ids.ts";
import { partitionOf } from "../../protocols/partition.ts";
import { BUCKETS, refOfSubject, STREAMS, subjects } from "../../protocols/subjects.ts";
import type { Records, StoredRecord } from "../transport.ts";
import { fromNats, isNotFound } from "./errors.ts";
import type { InFlight } from "./in-flight.ts";
import { readNewest } from "./newest.ts";

const RECORDS_STREAM = `KV_${BUCKETS.actors}`;
/** On records whose outbox or effects are open: found again by a take-over without reading bodies. */
const PENDING_HEADER = "Berth-Pending";
/** Under the 5 s that an election takes, so that a lost answer is noticed early; the commit is then looked up. */
const COMMIT_TIMEOUT_MS = 3_000;

interface Collaborators {
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
  readonly partitions: number;
  readonly inFlight: InFlight;
}

export function natsRecords({ js, jsm, partitions, inFlight }: Collaborators): Records {
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

    async commit(ref, data, options) {
      try {
        const marks = options.pending ? headers() : undefined;
        marks?.set(PENDING_HEADER, "1");
        const request = js.publish(subjectOf(ref, options.journaled), data, {
          expect: { lastSubjectSequence: options.expected },
          timeout: COMMIT_TIMEOUT_MS,
          retries: 0,
          ...(marks ? { headers: marks } : {}),
        });
        return (await inFlight.guard(request)).seq;
      } catch (thrown) {
        throw fromNats(thrown);
      }
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
