/**
 * A bucket kept in memory by its watch, so that a check costs nothing and a change acts at once.
 * What the watch has not brought is looked up: a key may be seconds younger than our view of it.
 */
import type { z } from "zod";
import type { Bucket } from "../../protocols/subjects.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { Buckets, KeyEntry, Watch } from "../../runtime/transport.ts";

const decoder = new TextDecoder();

export interface WatchedBucket<T> {
  get(key: string): Promise<T | undefined>;
  /** What the watch has brought; nothing is looked up. */
  peek(key: string): T | undefined;
  /** Calls back with the key of every change; the returned function ends it. */
  onChange(fn: (key: string) => void): () => void;
  close(): Promise<void>;
}

export async function watchBucket<T>(deps: {
  readonly buckets: Buckets;
  readonly bucket: Bucket;
  readonly schema: z.ZodType<T>;
  readonly logger: Logger;
}): Promise<WatchedBucket<T>> {
  const { buckets, bucket, schema, logger } = deps;
  const values = new Map<string, { readonly value: T; readonly revision: number }>();
  const listeners = new Set<(key: string) => void>();

  const parse = (entry: KeyEntry): T | undefined => {
    if (entry.value === undefined) return undefined;
    try {
      return schema.parse(JSON.parse(decoder.decode(entry.value)));
    } catch {
      logger.warn({ bucket, revision: entry.revision }, "a value in a bucket cannot be read");
      return undefined;
    }
  };
  const take = (entry: KeyEntry) => {
    if ((values.get(entry.key)?.revision ?? 0) > entry.revision) return;
    const value = parse(entry);
    if (value === undefined) values.delete(entry.key);
    else values.set(entry.key, { value, revision: entry.revision });
    for (const fn of listeners) fn(entry.key);
  };

  const watch: Watch = await buckets.watch(bucket, take);
  return {
    peek: (key) => values.get(key)?.value,
    async get(key) {
      const known = values.get(key);
      if (known) return known.value;
      const entry = await buckets.get(bucket, key);
      return entry && parse(entry);
    },
    onChange(fn) {
      listeners.add(fn);
      return () => listeners.delete(fn);
    },
    close: () => watch.close(),
  };
}
