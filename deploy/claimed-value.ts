/** What the first node of a deployment decides, for all nodes and for ever: in the claims bucket, where the first writer wins. */
import type { z } from "zod";
import { asBerthError } from "../protocols/errors.ts";
import type { Buckets } from "../runtime/transport.ts";

/** Reads the value under `key`, or writes what `make` gives where there is none. */
export async function claimedValue<T>(
  buckets: Pick<Buckets, "get" | "put">,
  key: string,
  { schema, make }: { readonly schema: z.ZodType<T>; readonly make: () => T },
): Promise<T> {
  const read = async () => {
    const entry = await buckets.get("claims", key);
    if (entry?.value === undefined) return undefined;
    return schema.parse(JSON.parse(new TextDecoder().decode(entry.value)));
  };
  const found = await read();
  if (found !== undefined) return found;
  const made = make();
  try {
    const value = new TextEncoder().encode(JSON.stringify(made));
    await buckets.put("claims", key, value, { expected: 0 });
    return made;
  } catch (thrown) {
    // Another node was first; or our own write was, and its answer was lost.
    const winner = await read();
    if (winner === undefined) throw asBerthError(thrown);
    return winner;
  }
}
