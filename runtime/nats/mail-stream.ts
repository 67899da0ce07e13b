/**
 * The delivery of one partition's mail and reminders.
 *
 * Invariants:
 * M1 Opening replaces both durable consumers, so everything unacknowledged is delivered again in stored
 *    order, and the stream that an earlier owner holds ends.
 * M2 No delivery is skipped: consumers number their deliveries, and a missing number (a delivery lost on a
 *    broken connection) ends the stream before anything behind the hole is handed out. Whoever opens again
 *    gets all of it in order. Without this, a later message could move an actor's cursor past a lost one.
 */
import type {
  ConsumerMessages,
  JetStreamClient,
  JetStreamManager,
  JsMsg,
} from "@nats-io/jetstream";
import { AckPolicy, DeliverPolicy } from "@nats-io/jetstream";
import type { Due, Envelope } from "../../protocols/envelope.ts";
import { BerthError } from "../../protocols/errors.ts";
import { parseMailSubject, refOfSubject, STREAMS, subjects } from "../../protocols/subjects.ts";
import { MailQueue } from "../mail-queue.ts";
import type { Mail, MailStream } from "../transport.ts";
import { fromNats } from "./errors.ts";

interface Collaborators {
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
}

/** Long, because holders touch what they hold; a dead owner's mail comes back by M1, not by waiting. */
const ACK_WAIT_NS = 60_000_000_000;
/** What one partition may have delivered and not acknowledged: bounds a node's memory (R7). */
const MAX_UNACKED = 1_000;

const decoder = new TextDecoder();

export async function openMailStream(parts: Collaborators, partition: number): Promise<MailStream> {
  const queue = new MailQueue();
  const sources: ConsumerMessages[] = [];
  const close = async () => {
    queue.end();
    await Promise.all(sources.map((source) => source.close().catch(() => undefined)));
  };
  try {
    for (const [stream, name, filter] of [
      [STREAMS.mail, `mail-${partition}`, subjects.mailOfPartition(partition)],
      [STREAMS.reminders, `due-${partition}`, subjects.dueOfPartition(partition)],
    ] as const) {
      const source = await takeOver(parts, stream, name, filter);
      sources.push(source);
      pump(source, queue, name);
    }
  } catch (thrown) {
    await close();
    throw fromNats(thrown);
  }
  return { [Symbol.asyncIterator]: () => queue[Symbol.asyncIterator](), close };
}

async function takeOver(
  { js, jsm }: Collaborators,
  stream: string,
  name: string,
  filter: string,
): Promise<ConsumerMessages> {
  await jsm.consumers.delete(stream, name).catch(() => false);
  await jsm.consumers.add(stream, {
    durable_name: name,
    filter_subject: filter,
    ack_policy: AckPolicy.Explicit,
    deliver_policy: DeliverPolicy.All,
    ack_wait: ACK_WAIT_NS,
    max_ack_pending: MAX_UNACKED,
  });
  const consumer = await js.consumers.get(stream, name);
  return consumer.consume({ max_messages: MAX_UNACKED, expires: 30_000 });
}

function pump(source: ConsumerMessages, queue: MailQueue, name: string): void {
  const watchStatus = async () => {
    for await (const status of source.status()) {
      if (status.type === "consumer_deleted" || status.type === "stream_not_found") {
        queue.fail(new BerthError("lease.lost", `consumer ${name} was taken over`));
      }
    }
  };
  const read = async () => {
    let expected = 1;
    for await (const message of source) {
      if (message.info.deliverySequence !== expected) {
        queue.fail(new BerthError("broker.unavailable", `a delivery of ${name} was lost`));
        return;
      }
      expected += 1;
      queue.push(toMail(message));
    }
  };
  const failed = (thrown: unknown) => queue.fail(fromNats(thrown));
  watchStatus().catch(failed);
  read().then(() => queue.fail(new BerthError("broker.unavailable", `${name} ended`)), failed);
}

/** What is not an envelope becomes one that no protocol knows, and so a dead letter with its text (R2). */
function toMail(message: JsMsg): Mail {
  const isDue = message.subject.startsWith("berth.due.");
  const text = decoder.decode(message.data);
  const body = parse(text) ?? { id: `malformed:${message.seq}`, type: "malformed", payload: text };
  const place = isDue
    ? { ref: refOfSubject(message.subject), lane: "due" as const }
    : parseMailSubject(message.subject);
  return {
    ...place,
    seq: message.seq,
    envelope: isDue ? { due: body as Due } : (body as Envelope),
    storedAt: message.time.getTime(),
    ack: () => quietly(() => message.ack()),
    touch: () => quietly(() => message.working()),
  };
}

function parse(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && "id" in value ? value : undefined;
  } catch {
    return undefined;
  }
}

/** On a closed connection: the broker delivers again, and the record tells what was handled. */
function quietly(send: () => void): void {
  try {
    send();
  } catch {}
}
