/**
 * Reads held messages again, in order.
 *
 * Invariants:
 * D1 A message counts as gone only when the same reading returned a later one of its subject: copies of a stream
 *    apply what happened in order, so who has the later one has had the earlier. A copy that lags, or a leader that
 *    was cut off, returns less and proves nothing.
 */
import type { JetStreamManager, StoredMsg } from "@nats-io/jetstream";
import { BerthError } from "../../protocols/errors.ts";
import type { ActorRef } from "../../protocols/ids.ts";
import { partitionOf } from "../../protocols/partition.ts";
import { consumers, STREAMS, subjects } from "../../protocols/subjects.ts";
import type { Mail, MailRead } from "../transport.ts";
import { DeliveredMail } from "./delivered-mail.ts";
import { fromNats, isNotFound } from "./errors.ts";
import type { InFlight } from "./in-flight.ts";
import { acknowledge } from "./mail-stream.ts";
import type { Sender } from "./sender.ts";

export interface MailReaderParts {
  readonly jsm: JetStreamManager;
  readonly inFlight: InFlight;
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
        const batch = await parts.inFlight.guard(read(parts.jsm, place, from, seqs.length));
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
async function readCopy(
  jsm: JetStreamManager,
  { stream, subject }: Place,
  from: number,
  limit: number,
): Promise<StoredMsg[]> {
  const got: StoredMsg[] = [];
  try {
    const query = { seq: from, next_by_subj: subject, batch: limit };
    for await (const message of await jsm.direct.getBatch(stream, query)) {
      // The broker names what it sent before: a message that was lost on the way is noticed.
      if (lastSequence(message) !== (got.at(-1)?.seq ?? 0))
        throw new BerthError("broker.unavailable", "part of a batch was lost");
      got.push(message);
    }
  } catch (thrown) {
    if (!isNotFound(thrown)) throw thrown;
  }
  return got;
}

function lastSequence(message: StoredMsg): number {
  return Number(message.header.get("Nats-Last-Sequence"));
}

/** One message, from the leader. */
async function readLeader(
  jsm: JetStreamManager,
  { stream, subject }: Place,
  from: number,
): Promise<StoredMsg[]> {
  try {
    const query = { seq: from, next_by_subj: subject };
    const message = await jsm.streams.getMessage(stream, query);
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
