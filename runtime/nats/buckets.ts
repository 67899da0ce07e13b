/** Key-value buckets with compare-and-set, TTL and watch, readable with `nats kv`. */
import type { JetStreamClient, JetStreamManager, JsMsg } from "@nats-io/jetstream";
import { BUCKETS, type Bucket, subjects } from "../../protocols/subjects.ts";
import type { Clock } from "../clock.ts";
import type { Logger } from "../logger.ts";
import type { Buckets, KeyEntry } from "../transport.ts";
import { BucketWatch } from "./bucket-watch.ts";
import { fromNats, isNotFound } from "./errors.ts";
import type { InFlight } from "./in-flight.ts";
import { readNewest } from "./newest.ts";
import type { Publisher } from "./publisher.ts";

const streamOf = (bucket: Bucket) => `KV_${BUCKETS[bucket]}`;
const OPERATION = "KV-Operation";
/** The broker's own marker where a TTL removed a value. */
const MARKER = "Nats-Marker-Reason";
/** The shortest TTL that the broker takes. */
const MIN_TTL_MS = 1_000;

interface Collaborators {
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
  readonly inFlight: InFlight;
  readonly publisher: Publisher;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onReconnect: (fn: () => void) => () => void;
}

export function natsBuckets(parts: Collaborators): Buckets {
  const { jsm, inFlight, publisher } = parts;
  const raw = async (bucket: Bucket, key: string) => {
    try {
      const query = { last_by_subj: subjects.value(bucket, key) };
      return (await inFlight.guard(jsm.streams.getMessage(streamOf(bucket), query))) ?? undefined;
    } catch (thrown) {
      if (isNotFound(thrown)) return undefined;
      throw fromNats(thrown);
    }
  };

  const publish: Buckets["put"] = (bucket, key, value, options = {}) => {
    const { expected, timeoutMs } = options;
    const ttlMs =
      options.ttlMs === undefined ? undefined : Math.max(MIN_TTL_MS, Math.round(options.ttlMs));
    return publisher.publish(subjects.value(bucket, key), value, { expected, ttlMs }, timeoutMs);
  };

  return {
    async get(bucket, key) {
      const found = await raw(bucket, key);
      if (!found || isRemoval(found.header)) return undefined;
      return { key, revision: found.seq, value: found.data };
    },

    async put(bucket, key, value, options = {}) {
      try {
        return await publish(bucket, key, value, options);
      } catch (thrown) {
        const error = fromNats(thrown);
        if (error.code !== "record.conflict" || options.expected !== 0) throw error;
        // A key that was deleted has a marker as its last message; it does not exist all the same.
        const found = await raw(bucket, key);
        if (!found || !isRemoval(found.header)) throw error;
        return publish(bucket, key, value, { ...options, expected: found.seq }).catch((again) => {
          throw fromNats(again);
        });
      }
    },

    async remove(bucket, key, { expected } = {}) {
      const head = { expected, others: { [OPERATION]: "DEL" } };
      await publisher.publish(subjects.value(bucket, key), new Uint8Array(), head);
    },

    list: (bucket, prefix) => list(parts, bucket, prefix),
    keys: (bucket, pattern) => keys(parts, bucket, pattern),
    watch: (bucket, onEntry) =>
      BucketWatch.open({ ...parts, list: (of) => list(parts, of, "") }, bucket, onEntry),
  };
}

function isRemoval(header: { get(name: string): string; has(name: string): boolean }): boolean {
  const operation = header.get(OPERATION);
  return operation === "DEL" || operation === "PURGE" || header.has(MARKER);
}

function keyOf(bucket: Bucket, subject: string): string {
  return subject.slice(subjects.value(bucket, "").length);
}

function toEntry(bucket: Bucket, message: JsMsg): KeyEntry {
  const gone = message.headers !== undefined && isRemoval(message.headers);
  return {
    key: keyOf(bucket, message.subject),
    revision: message.seq,
    value: gone ? undefined : message.data,
  };
}

async function list(parts: Collaborators, bucket: Bucket, prefix: string): Promise<KeyEntry[]> {
  const pattern = prefix === "" ? ">" : `${prefix}.>`;
  const entries = await newest(parts, bucket, { pattern, headersOnly: false });
  return entries.toSorted((a, b) => (a.key < b.key ? -1 : 1));
}

async function keys(parts: Collaborators, bucket: Bucket, pattern: string): Promise<string[]> {
  const entries = await newest(parts, bucket, { pattern, headersOnly: true });
  return entries.map(({ key }) => key).toSorted();
}

/** Entries that are there; with `headersOnly` without their values. */
async function newest(
  parts: Collaborators,
  bucket: Bucket,
  { pattern, headersOnly }: { readonly pattern: string; readonly headersOnly: boolean },
): Promise<KeyEntry[]> {
  const filter = subjects.value(bucket, pattern);
  const entries: KeyEntry[] = [];
  for await (const message of readNewest(parts, {
    stream: streamOf(bucket),
    filter,
    headersOnly,
  })) {
    const entry = toEntry(bucket, message);
    if (entry.value !== undefined) entries.push(entry);
  }
  return entries;
}
