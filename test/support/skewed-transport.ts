/** A connection of another build: everything that crosses it, either way, carries fields that this build does not know. */
import { pack, unpack } from "../../runtime/ask-codec.ts";
import type { KeyEntry, Mail, StoredRecord, Transport } from "../../runtime/transport.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Places whose keys are names and not fields: nothing is added there. */
const MAPS = new Set(["cursor", "reminders", "after", "effects", "askers", "messages", "metadata"]);
/** A map of maps of numbers. */
const NUMBERS = "last";

/** The same with a field more in every object, but for those under a name of `MAPS` and what `skip` names. */
export function withStrangers<T>(value: T, skip: readonly string[] = []): T {
  if (Array.isArray(value)) return value.map((item) => withStrangers(item, skip)) as T;
  if (typeof value !== "object" || value === null) return value;
  const fields = Object.entries(value).map(([name, field]: [string, unknown]) => {
    if (name === NUMBERS || skip.includes(name)) return [name, field];
    if (!MAPS.has(name) || Array.isArray(field)) return [name, withStrangers(field, skip)];
    const inner = Object.entries(field as object).map(([key, item]: [string, unknown]) => [
      key,
      withStrangers(item, skip),
    ]);
    return [name, Object.fromEntries(inner)];
  });
  return { ...Object.fromEntries(fields), from_another_build: { n: [1] } } as T;
}

const json = (data: Uint8Array, skip: readonly string[] = []): Uint8Array => {
  try {
    return encoder.encode(JSON.stringify(withStrangers(JSON.parse(decoder.decode(data)), skip)));
  } catch {
    return data;
  }
};
const packed = (data: Uint8Array): Uint8Array =>
  data.length === 0 ? data : pack(withStrangers(unpack(data)));
const record = (found: StoredRecord): StoredRecord => ({ ...found, data: json(found.data) });
const entry = (found: KeyEntry): KeyEntry => ({
  ...found,
  value: found.value && json(found.value),
});

function mail(inner: Mail): Mail {
  return {
    ref: inner.ref,
    seq: inner.seq,
    lane: inner.lane,
    envelope: withStrangers(inner.envelope),
    size: inner.size,
    storedAt: inner.storedAt,
    ack: () => inner.ack(),
  };
}

export function skewed(inner: Transport): Transport {
  const { buckets, bus, mailboxes, records } = inner;
  return {
    ...inner,
    records: {
      ...records,
      commit: (ref, data, options) => records.commit(ref, json(data), options),
      async load(ref, journaled) {
        const found = await records.load(ref, journaled);
        return found && record(found);
      },
      journal: async (...query) => (await records.journal(...query)).map(record),
    },
    mailboxes: {
      ...mailboxes,
      send: (ref, lane, envelope) => mailboxes.send(ref, lane, withStrangers(envelope)),
      schedule: (ref, due, at) => mailboxes.schedule(ref, withStrangers(due), at),
      deadLetter: (letter) => mailboxes.deadLetter(withStrangers(letter)),
      async read(...query) {
        const { found, gone } = await mailboxes.read(...query);
        return { found: found.map(mail), gone };
      },
      async open(partition) {
        const stream = await mailboxes.open(partition);
        return {
          close: () => stream.close(),
          async *[Symbol.asyncIterator]() {
            for await (const item of stream) yield mail(item);
          },
        };
      },
    },
    bus: {
      ...bus,
      request: async (subject, data, ...rest) =>
        packed(await bus.request(subject, packed(data), ...rest)),
      serve: (subject, queue, handle) =>
        bus.serve(subject, queue, (incoming) =>
          handle({
            subject: incoming.subject,
            data: packed(incoming.data),
            reply: (data) => incoming.reply(packed(data)),
          }),
        ),
    },
    buckets: {
      ...buckets,
      async get(bucket, key) {
        const found = await buckets.get(bucket, key);
        return found && entry(found);
      },
      put: (bucket, key, value, options) => buckets.put(bucket, key, json(value), options),
      list: async (bucket, prefix) => (await buckets.list(bucket, prefix)).map(entry),
      watch: (bucket, onEntry) => buckets.watch(bucket, (found) => onEntry(entry(found))),
    },
  };
}
