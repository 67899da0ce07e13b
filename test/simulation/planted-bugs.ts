/**
 * Bugs that a runtime could have, planted between it and the broker: a simulator that does not find them is worth
 * nothing. Each leaves everything else as it is.
 */
import { refName } from "../../protocols/ids.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Sabotage } from "../../runtime/testkit/simulation.ts";
import type { Mail, MailStream, Records, Transport } from "../../runtime/transport.ts";

const decoder = new TextDecoder();
const encoder = new TextEncoder();

function withRecords(transport: Transport, change: (records: Records) => Partial<Records>) {
  return { ...transport, records: { ...transport.records, ...change(transport.records) } };
}

/** Every record as it is loaded, changed. */
const loading =
  (change: (record: Record<string, unknown>) => object): Sabotage =>
  (transport) =>
    withRecords(transport, (records) => ({
      async load(ref, journaled) {
        const found = await records.load(ref, journaled);
        if (!found) return undefined;
        const record = JSON.parse(decoder.decode(found.data)) as Record<string, unknown>;
        return { ...found, data: encoder.encode(JSON.stringify(change(record))) };
      },
    }));

/** R1: a commit overwrites whatever is there. */
export const fenceRemoved: Sabotage = (transport) =>
  withRecords(transport, (records) => ({
    async commit(ref, data, options) {
      const present = await records.load(ref, options.journaled);
      return records.commit(ref, data, { ...options, expected: present?.revision ?? 0 });
    },
  }));

function withMail(transport: Transport, change: (stream: MailStream) => AsyncIterable<Mail>) {
  const { mailboxes } = transport;
  return {
    ...transport,
    mailboxes: {
      ...mailboxes,
      async open(partition: number): Promise<MailStream> {
        const stream = await mailboxes.open(partition);
        const changed = change(stream);
        return {
          [Symbol.asyncIterator]: () => changed[Symbol.asyncIterator](),
          close: () => stream.close(),
        };
      },
    },
  };
}

/** R2: mail is acknowledged when it is delivered, before its turn is stored. */
export const ackedTooSoon: Sabotage = (transport) =>
  withMail(transport, async function* (stream) {
    for await (const mail of stream) {
      mail.ack();
      yield mail;
    }
  });

/** R3: what was handled is not remembered, neither by its place in the mailbox nor by the number of its sender or client. */
export const cursorIgnored: Sabotage = loading((record) => ({
  ...record,
  cursor: {},
  senders: undefined,
  askers: undefined,
}));

/** R2: a new owner does not send what the one before had committed and not sent. */
export const outboxDropped: Sabotage = loading((record) => ({ ...record, outbox: [] }));

/** How long a message is held back, for another to pass it. */
const HELD_MS = 1_500;

/** R4: a message that is followed by another to the same actor changes places with it. */
export const orderBroken: Sabotage = (transport, clock) =>
  withMail(transport, (stream) => swapped(stream, clock));

async function* swapped(stream: MailStream, clock: Clock): AsyncGenerator<Mail> {
  const mails = stream[Symbol.asyncIterator]();
  let next = mails.next();
  for (let first = await next; !first.done; first = await next) {
    next = mails.next();
    const passed = await Promise.race([next, clock.sleep(HELD_MS)]);
    const second = passed?.done === false ? passed.value : undefined;
    if (!second || !isPassable(first.value, second)) {
      yield first.value;
      continue;
    }
    next = mails.next();
    yield renumbered(second, first.value.seq);
    yield renumbered(first.value, second.seq);
  }
}

const isPassable = (one: Mail, other: Mail) =>
  one.lane === other.lane && refName(one.ref) === refName(other.ref);

function renumbered(mail: Mail, seq: number): Mail {
  const { ref, lane, envelope, size, storedAt } = mail;
  return { ref, lane, envelope, size, storedAt, seq, ack: () => mail.ack() };
}
