/**
 * Reads held messages again, in order.
 *
 * Invariants:
 * D1 A message counts as gone only when the same reading returned a later one of its subject: copies of a stream
 *    apply what happened in order, so who has the later one has had the earlier. A copy that lags, or a leader that
 *    was cut off, returns less and proves nothing.
 */
import type { StoredMsg } from "@nats-io/jetstream";
import type { ActorRef } from "../../protocols/ids.ts";
import { partitionOf } from "../../protocols/partition.ts";
import { consumers, STREAMS, subjects } from "../../protocols/subjects.ts";
import type { Mail, MailRead } from "../transport.ts";
import { DeliveredMail } from "./delivered-mail.ts";
import { type DirectBatchParts, readDirectBatch } from "./direct-batch.ts";
import { fromNats, isNotFound } from "./errors.ts";
import { acknowledge } from "./mail-stream.ts";
import type { Sender } from "./sender.ts";

export interface MailReaderParts extends DirectBatchParts {
  readonly sender: Sender;
  readonly partitions: number;
}

interface Place {
  readonly stream: string;
  readonly consumer: string;
  readonly subject: string;
}

function placeOf(partition: number, ref: ActorRef, lane: Mail["lane"]): Place {
  if (lane === "due") {
    const subject = subjects.storedDue(partition, ref);
    return { stream: STREAMS.reminders, consumer: consumers.due(partition), subject };
  }
  const isUrgent = lane === "system" || lane === "control";
  const consumer = isUrgent ? consumers.control(partition) : consumers.mail(partition);
  return { stream: STREAMS.mail, consumer, subject: subjects.storedMail(partition, ref, lane) };
}

export async function readMail(
  parts: MailReaderParts,
  ref: ActorRef,
  lane: Mail["lane"],
  seqs: readonly number[],
): Promise<MailRead> {
  const place = placeOf(partitionOf(ref, parts.partitions), ref, lane);
  const found = new Map<number, StoredMsg>();
  const last = seqs.at(-1) ?? 0;
  let from = seqs[0] ?? 1;
  try {
    for (const read of [readCopy, readLeader]) {
      while (from <= last) {
        const batch = await read(parts, place, from, seqs.length);
        for (const message of batch) found.set(message.seq, message);
        const end = batch.at(-1);
        if (!end) break;
        from = end.seq + 1;
      }
    }
  } catch (thrown) {
    throw fromNats(thrown);
  }
  const wanted = seqs.flatMap((seq) => found.get(seq) ?? []);
  return {
    found: wanted.map((message) => toMail(parts, place, message)),
    gone: seqs.filter((seq) => seq < from && !found.has(seq)), // D1
  };
}

/** The messages from a sequence on that any copy of the stream has, at most `limit`; none behind a hole. */
function readCopy(
  parts: MailReaderParts,
  { stream, subject }: Place,
  from: number,
  limit: number,
): Promise<StoredMsg[]> {
  return readDirectBatch(parts, stream, { seq: from, next_by_subj: subject, batch: limit });
}

/** One message, from the leader. */
async function readLeader(
  { jsm, inFlight }: MailReaderParts,
  { stream, subject }: Place,
  from: number,
): Promise<StoredMsg[]> {
  try {
    const query = { seq: from, next_by_subj: subject };
    const message = await inFlight.guard(jsm.streams.getMessage(stream, query));
    return message ? [message] : [];
  } catch (thrown) {
    if (isNotFound(thrown)) return [];
    throw thrown;
  }
}

/** Acknowledgements name the message by its sequence; the broker looks at nothing else of them. */
function toMail({ sender }: MailReaderParts, place: Place, message: StoredMsg): Mail {
  const { seq, data, time } = message;
  const reply = `$JS.ACK.${place.stream}.${place.consumer}.1.${seq}.${seq}.0.0`;
  const ack = () => acknowledge(sender, reply);
  return new DeliveredMail({ subject: place.subject, seq, data, storedAt: time.getTime(), ack });
}
