/** Records of actors that nobody asks, as many as wanted: copies of one that a node has committed. */
import { jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { partitionOf } from "../protocols/partition.ts";
import { BUCKETS, subjects } from "../protocols/subjects.ts";
import { BENCH_TENANT, RestingActor } from "./bench-actor.ts";
import type { Bench } from "./scenario.ts";

const STREAM = `KV_${BUCKETS.actors}`;
/** The broker holds so many back at most before it drops some; the last of each is asked for its answer. */
const WINDOW = 2_000;
const WINDOW_MS = 30_000;

export const idleKey = (nth: number) => `idle-${nth}`;
const refOf = (key: string) => ({ kind: RestingActor.kind, tenant: BENCH_TENANT, key });

/** Writes the records `from` to `to` - 1, then counts what the stream holds: throws when one is missing. */
export async function writeIdleRecords(
  bench: Bench,
  parts: {
    readonly nc: NatsConnection;
    readonly partitions: number;
    /** The key of the actor whose record is copied. */
    readonly model: string;
  },
  from: number,
  to: number,
): Promise<void> {
  const { nc, partitions } = parts;
  const subjectOf = (key: string) =>
    subjects.record(partitionOf(refOf(key), partitions), refOf(key));
  const jsm = await jetstreamManager(nc);
  const model = await jsm.streams.getMessage(STREAM, { last_by_subj: subjectOf(parts.model) });
  if (!model) throw new Error("there is no record to copy");
  const before = await jsm.streams.info(STREAM);
  for (let next = from; next < to; ) {
    bench.signal.throwIfAborted();
    const end = Math.min(to, next + WINDOW) - 1;
    for (; next < end; next += 1) nc.publish(subjectOf(idleKey(next)), model.data);
    await nc.request(subjectOf(idleKey(next)), model.data, { timeout: WINDOW_MS });
    next += 1;
  }
  const stored = (await jsm.streams.info(STREAM)).state.messages - before.state.messages;
  if (stored !== to - from) throw new Error(`${stored} records were stored, not ${to - from}`);
}

/** Their watchers come and go with nodes and clients, whatever actors there are. */
const WATCHED: readonly string[] = [`KV_${BUCKETS.nodes}`, `KV_${BUCKETS.partitions}`];

const LOOK_MS = 500;

/** Those that stay: readers of a few milliseconds, as nodes have now and then, are there in some looks only. */
export async function lastingConsumers(nc: NatsConnection, looks: number): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let look = 0; look < looks; look += 1) {
    least = Math.min(least, await countConsumers(nc));
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  return least;
}

/** Consumers of all streams of actors, those of a node that looks through its records included. */
export async function countConsumers(nc: NatsConnection): Promise<number> {
  const jsm = await jetstreamManager(nc);
  let consumers = 0;
  for await (const { config, state } of jsm.streams.list()) {
    if (!WATCHED.includes(config.name)) consumers += state.consumer_count;
  }
  return consumers;
}
