/** What names the things of this deployment in a container engine, so that those of others are never touched. */
import { randomBytes } from "node:crypto";
import { z } from "zod";
import { asBerthError } from "../protocols/errors.ts";
import { idSchema } from "../protocols/ids.ts";
import type { Buckets } from "../runtime/transport.ts";
import type { Config } from "./config.ts";

/** In the claims bucket: the first writer wins. */
const KEY = "deployment";
const ID_BYTES = 5;

const recordSchema = z.object({ id: idSchema });

/** The configured name, or the one that the deployment's first node made: the same for every node, for ever. */
export async function deploymentId(
  buckets: Pick<Buckets, "get" | "put">,
  config: Pick<Config, "BERTH_DEPLOYMENT">,
): Promise<string> {
  if (config.BERTH_DEPLOYMENT !== undefined) return config.BERTH_DEPLOYMENT;
  return (await made(buckets)) ?? (await make(buckets));
}

async function made(buckets: Pick<Buckets, "get">): Promise<string | undefined> {
  const entry = await buckets.get("claims", KEY);
  if (entry?.value === undefined) return undefined;
  return recordSchema.parse(JSON.parse(new TextDecoder().decode(entry.value))).id;
}

async function make(buckets: Pick<Buckets, "get" | "put">): Promise<string> {
  const id = `berth-${randomBytes(ID_BYTES).toString("hex")}`;
  const value = new TextEncoder().encode(JSON.stringify({ id }));
  try {
    await buckets.put("claims", KEY, value, { expected: 0 });
    return id;
  } catch (thrown) {
    // Another node was first; or our own write was, and its answer was lost.
    const winner = await made(buckets);
    if (winner === undefined) throw asBerthError(thrown);
    return winner;
  }
}
