/** Lists from buckets: values read once, checked, and cut into pages by cursor. */
import type { z } from "zod";
import type { Bucket } from "../protocols/subjects.ts";
import type { Buckets } from "../runtime/transport.ts";

const decoder = new TextDecoder();

/** Every readable value under `prefix`; one that this build cannot read is left out. */
export async function readAll<T>(
  buckets: Buckets,
  bucket: Bucket,
  schema: z.ZodType<T>,
  prefix = "",
): Promise<{ readonly key: string; readonly value: T }[]> {
  const entries = await buckets.list(bucket, prefix);
  return entries.flatMap(({ key, value }) => {
    const parsed = value && parseValue(schema, value);
    return parsed === undefined ? [] : [{ key, value: parsed }];
  });
}

export function parseValue<T>(schema: z.ZodType<T>, value: Uint8Array): T | undefined {
  try {
    return schema.parse(JSON.parse(decoder.decode(value)));
  } catch {
    return undefined;
  }
}

interface PageQuery {
  readonly limit: number;
  readonly after?: string | undefined;
}

/** One page of items sorted newest (greatest id) first. `next` is null on the last page. Pure. */
export function paginate<T extends { readonly id: string }>(
  items: readonly T[],
  query: PageQuery,
): { readonly data: T[]; readonly next: string | null } {
  const { limit, after } = query;
  const sorted = items.toSorted((a, b) => (a.id < b.id ? 1 : -1));
  const rest = after === undefined ? sorted : sorted.filter((item) => item.id < after);
  const data = rest.slice(0, limit);
  return { data, next: rest.length > limit ? (data.at(-1)?.id ?? null) : null };
}

/** Values that one page reads at most, whatever its filter leaves out. */
const MAX_READS = 1_000;
const READS_AT_ONCE = 16;

/**
 * One page of a bucket whose keys end in ids that sort by time, newest first: keys are listed, values are read
 * only as far as the page goes. `show` turns a value into an item, or into nothing when the filter leaves it out.
 */
export async function readNewest<T, R>(
  source: {
    readonly buckets: Buckets;
    readonly bucket: Bucket;
    readonly schema: z.ZodType<T>;
    readonly pattern: string;
  },
  query: PageQuery,
  show: (value: T) => Promise<R | undefined> | R | undefined,
): Promise<{ data: R[]; next: string | null }> {
  const { buckets, bucket, schema, pattern } = source;
  const found = (await buckets.keys(bucket, pattern)).map((key) => ({ key, id: idOf(key) }));
  const { after } = query;
  const sorted = found.toSorted((a, b) => (a.id < b.id ? 1 : -1));
  const keys = after === undefined ? sorted : sorted.filter(({ id }) => id < after);
  const look = async ({ key, id }: { readonly key: string; readonly id: string }) => {
    const value = (await buckets.get(bucket, key))?.value;
    const parsed = value && parseValue(schema, value);
    const item = parsed && (await show(parsed));
    return item === undefined ? [] : [{ id, item }];
  };
  const shown: { id: string; item: R }[] = [];
  let at = 0;
  while (at < Math.min(keys.length, MAX_READS) && shown.length <= query.limit) {
    const count = Math.min(READS_AT_ONCE, query.limit + 1 - shown.length);
    shown.push(...(await Promise.all(keys.slice(at, at + count).map(look))).flat());
    at += count;
  }
  const page = shown.slice(0, query.limit);
  const last = shown.length > query.limit ? page.at(-1)?.id : keys[at - 1]?.id;
  const isMore = shown.length > query.limit || at < keys.length;
  return { data: page.map(({ item }) => item), next: isMore ? (last ?? null) : null };
}

/** The key of the one thing that a pattern with its id names. */
export async function findKey(
  buckets: Buckets,
  bucket: Bucket,
  pattern: string,
): Promise<string | undefined> {
  return pattern.includes("*") ? (await buckets.keys(bucket, pattern))[0] : pattern;
}

function idOf(key: string): string {
  return key.slice(key.lastIndexOf(".") + 1);
}
