/** Mailboxes and reminders on JetStream work queues. */
import type { JetStreamClient } from "@nats-io/jetstream";
import type { Due, Envelope } from "../../protocols/envelope.ts";
import { STREAMS, subjects } from "../../protocols/subjects.ts";
import type { Mailboxes } from "../transport.ts";
import { fromNats, isNotFound } from "./errors.ts";
import type { InFlight } from "./in-flight.ts";
import { readMail } from "./mail-reader.ts";
import { type MailStreamParts, openMailStream } from "./mail-stream.ts";
import type { Publisher } from "./publisher.ts";

const encoder = new TextEncoder();
const encode = (value: Envelope | Due | object) => encoder.encode(JSON.stringify(value));
const SEND_TIMEOUT_MS = 3_000;

export function natsMailboxes(
  parts: MailStreamParts & {
    readonly js: JetStreamClient;
    readonly inFlight: InFlight;
    readonly publisher: Publisher;
    readonly partitions: number;
  },
): Mailboxes {
  const { js, jsm, inFlight, publisher } = parts;
  const publish = (subject: string, data: Uint8Array, id: string) =>
    publisher.publish(subject, data, { id });
  return {
    send: (ref, lane, envelope) => publish(subjects.mail(ref, lane), encode(envelope), envelope.id),
    open: (partition) => openMailStream(parts, partition),
    read: (ref, lane, seqs) => readMail(parts, ref, lane, seqs),
    async schedule(ref, due, at) {
      try {
        const request = js.publish(subjects.reminder(ref, due.name), encode(due), {
          schedule: { specification: { at: new Date(at) }, target: subjects.due(ref) },
          timeout: SEND_TIMEOUT_MS,
          retries: 0,
        });
        await inFlight.guard(request);
      } catch (thrown) {
        throw fromNats(thrown);
      }
    },
    async unschedule(ref, name) {
      try {
        const filter = subjects.reminder(ref, name);
        await inFlight.guard(jsm.streams.purge(STREAMS.reminders, { filter }));
      } catch (thrown) {
        if (!isNotFound(thrown)) throw fromNats(thrown);
      }
    },
    async deadLetter(letter) {
      await publish(subjects.deadLetter(letter.actor), encode(letter), `dead:${letter.id}`);
    },
  };
}
