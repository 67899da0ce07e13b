/**
 * The delivery of one partition's mail and reminders.
 *
 * Invariants:
 * M1 Opening replaces the partition's durable consumers, so everything unacknowledged is delivered again in stored
 *    order, and the stream that an earlier owner holds ends.
 * M2 No delivery is skipped (C2): the stream ends instead, and whoever opens again gets all of it in order. Without
 *    this, a later message could move an actor's cursor past a lost one.
 */
import { AckPolicy, DeliverPolicy, type JetStreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { consumers, STREAMS, subjects } from "../../protocols/subjects.ts";
import type { Clock } from "../clock.ts";
import { MailQueue } from "../mail-queue.ts";
import type { MailStream } from "../transport.ts";
import { DeliveredMail } from "./delivered-mail.ts";
import { fromNats } from "./errors.ts";
import { PullSource } from "./pull-source.ts";
import type { Sender } from "./sender.ts";

export interface MailStreamParts {
  readonly connection: NatsConnection;
  readonly jsm: JetStreamManager;
  readonly sender: Sender;
  readonly clock: Clock;
}

/**
 * Only a lost acknowledgement waits for this: a dead owner's mail comes back by M1, a lost delivery by M2. Held
 * mail that is older is delivered again, which costs a message and changes nothing.
 */
const ACK_WAIT_NS = 600_000_000_000;
/**
 * What one partition may have delivered and not acknowledged: ten full mailboxes of actors that stand still. The
 * broker keeps 0.3 KB for each, a node a number (docs/adr/0009).
 */
const MAX_UNACKED = 100_000;

const ACK = new TextEncoder().encode("+ACK");

interface Source {
  readonly stream: string;
  readonly consumer: string;
  readonly filters: string[];
}

const sourcesOf = (partition: number): Source[] => [
  {
    stream: STREAMS.mail,
    consumer: consumers.control(partition),
    filters: [subjects.mailOfLane(partition, "system"), subjects.mailOfLane(partition, "control")],
  },
  {
    stream: STREAMS.mail,
    consumer: consumers.mail(partition),
    filters: [subjects.mailOfLane(partition, "user"), subjects.mailOfLane(partition, "background")],
  },
  {
    stream: STREAMS.reminders,
    consumer: consumers.due(partition),
    filters: [subjects.dueOfPartition(partition)],
  },
];

export async function openMailStream(
  parts: MailStreamParts,
  partition: number,
): Promise<MailStream> {
  const queue = new MailQueue();
  const opened: PullSource[] = [];
  try {
    const sources = sourcesOf(partition);
    await Promise.all(sources.map((source) => takeOver(parts.jsm, source)));
    for (const source of sources) opened.push(pull(parts, source, queue));
  } catch (thrown) {
    throw fromNats(thrown);
  }
  return {
    [Symbol.asyncIterator]: () => queue[Symbol.asyncIterator](),
    close() {
      queue.end();
      for (const source of opened) source.close();
      return Promise.resolve();
    },
  };
}

async function takeOver(
  jsm: JetStreamManager,
  { stream, consumer, filters }: Source,
): Promise<void> {
  await jsm.consumers.delete(stream, consumer).catch(() => false);
  await jsm.consumers.add(stream, {
    durable_name: consumer,
    filter_subjects: filters,
    ack_policy: AckPolicy.Explicit,
    deliver_policy: DeliverPolicy.All,
    ack_wait: ACK_WAIT_NS,
    max_ack_pending: MAX_UNACKED,
  });
}

function pull(parts: MailStreamParts, source: Source, queue: MailQueue): PullSource {
  const { clock, connection, sender } = parts;
  const made: PullSource = new PullSource({
    connection,
    clock,
    stream: source.stream,
    consumer: source.consumer,
    onMessage: ({ subject, data, reply = "" }, { seq, storedAt }) => {
      const ack = () => acknowledge(sender, reply);
      queue.push(new DeliveredMail({ subject, seq, data, storedAt, ack }), taken);
    },
    onEnd: (error) => queue.fail(error),
  });
  const taken = () => made.taken();
  return made;
}

/** Fire and forget. */
export function acknowledge(sender: Sender, subject: string): void {
  sender.send({ subject, data: ACK, failed: () => {} });
}
