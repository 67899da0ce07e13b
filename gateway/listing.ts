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

/** One page of items sorted newest (greatest id) first. `next` is null on the last page. Pure. */
export function paginate<T extends { readonly id: string }>(
  items: readonly T[],
  query: { readonly limit: number; readonly after?: string | undefined },
): { readonly data: T[]; readonly next: string | null } {
  const { limit, after } = query;
  const sorted = items.toSorted((a, b) => (a.id < b.id ? 1 : -1));
  const rest = after === undefined ? sorted : sorted.filter((item) => item.id < after);
  const data = rest.slice(0, limit);
  return { data, next: rest.length > limit ? (data.at(-1)?.id ?? null) : null };
}
