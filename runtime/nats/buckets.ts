/** Key-value buckets with compare-and-set, TTL and watch, readable with `nats kv`. */
import {
  AckPolicy,
  DeliverPolicy,
  type JetStreamClient,
  type JetStreamManager,
  type JsMsg,
} from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { headers } from "@nats-io/transport-node";
import { BerthError } from "../../protocols/errors.ts";
import { BUCKETS, type Bucket, subjects } from "../../protocols/subjects.ts";
import type { Buckets, KeyEntry } from "../transport.ts";
import { fromNats, isNotFound } from "./errors.ts";

const streamOf = (bucket: Bucket) => `KV_${BUCKETS[bucket]}`;
const OPERATION = "KV-Operation";
/** The broker's own marker where a TTL removed a value. */
const MARKER = "Nats-Marker-Reason";
const PUT_TIMEOUT_MS = 3_000;
const LIST_BATCH = 500;
/** The shortest TTL that the broker takes. */
const MIN_TTL_MS = 1_000;

interface Collaborators {
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
}

export function natsBuckets({ js, jsm }: Collaborators): Buckets {
  const raw = async (bucket: Bucket, key: string) => {
    try {
      return (
        (await jsm.streams.getMessage(streamOf(bucket), {
          last_by_subj: subjects.value(bucket, key),
        })) ?? undefined
      );
    } catch (thrown) {
      if (isNotFound(thrown)) return undefined;
      throw fromNats(thrown);
    }
  };

  const publish: Buckets["put"] = async (bucket, key, value, options = {}) => {
    const { expected, ttlMs } = options;
    const ttl = ttlMs === undefined ? undefined : `${Math.max(MIN_TTL_MS, Math.round(ttlMs))}ms`;
    const ack = await js.publish(subjects.value(bucket, key), value, {
      timeout: PUT_TIMEOUT_MS,
      retries: 0,
      ...(expected === undefined ? {} : { expect: { lastSubjectSequence: expected } }),
      ...(ttl === undefined ? {} : { ttl }),
    });
    return ack.seq;
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

    async remove(bucket, key) {
      const marks = headers();
      marks.set(OPERATION, "DEL");
      try {
        await js.publish(subjects.value(bucket, key), new Uint8Array(), {
          headers: marks,
          timeout: PUT_TIMEOUT_MS,
          retries: 0,
        });
      } catch (thrown) {
        throw fromNats(thrown);
      }
    },

    list: (bucket, prefix) => list({ js, jsm }, bucket, prefix),
    watch: (bucket, onEntry) => watch({ js, jsm }, bucket, onEntry),
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

/** Reads through a consumer that lives as long as the listing: the direct batch call stops at 1024 subjects. */
async function list(
  { js, jsm }: Collaborators,
  bucket: Bucket,
  prefix: string,
): Promise<KeyEntry[]> {
  const entries: KeyEntry[] = [];
  const stream = streamOf(bucket);
  const filter =
    prefix === "" ? subjects.value(bucket, ">") : subjects.value(bucket, `${prefix}.>`);
  try {
    const info = await jsm.consumers.add(stream, {
      ack_policy: AckPolicy.None,
      deliver_policy: DeliverPolicy.LastPerSubject,
      filter_subject: filter,
      inactive_threshold: 30_000_000_000,
      mem_storage: true,
      num_replicas: 1,
    });
    const consumer = await js.consumers.get(stream, info.name);
    let left = info.num_pending;
    while (left > 0) {
      let got = 0;
      for await (const message of await consumer.fetch({
        max_messages: Math.min(left, LIST_BATCH),
        expires: 5_000,
      })) {
        got += 1;
        entries.push(toEntry(bucket, message));
        if (got >= left) break;
      }
      if (got === 0)
        throw new BerthError("broker.unavailable", `listing ${bucket} stopped half way`);
      left -= got;
    }
    await jsm.consumers.delete(stream, info.name).catch(() => false);
  } catch (thrown) {
    throw fromNats(thrown);
  }
  return entries
    .filter((entry) => entry.value !== undefined)
    .toSorted((a, b) => (a.key < b.key ? -1 : 1));
}

async function watch(
  parts: Collaborators,
  bucket: Bucket,
  onEntry: (entry: KeyEntry) => void,
): Promise<{ close(): Promise<void> }> {
  for (const entry of await list(parts, bucket, "")) onEntry(entry);
  try {
    const kv = await new Kvm(parts.js).open(BUCKETS[bucket]);
    // Starts with the present values again, so nothing between the listing and here is missed.
    const changes = await kv.watch();
    const read = async () => {
      for await (const change of changes) {
        onEntry({
          key: change.key,
          revision: change.revision,
          value: change.operation === "PUT" ? change.value : undefined,
        });
      }
    };
    const reading = read().catch(() => undefined);
    return {
      async close() {
        changes.stop();
        await reading;
      },
    };
  } catch (thrown) {
    throw fromNats(thrown);
  }
}
