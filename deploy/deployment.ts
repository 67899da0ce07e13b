/** What names the things of this deployment in a container engine, so that those of others are never touched. */
import { randomBytes } from "node:crypto";
import { z } from "zod";
import { idSchema } from "../protocols/ids.ts";
import type { Buckets } from "../runtime/transport.ts";
import { claimedValue } from "./claimed-value.ts";
import type { Config } from "./config.ts";

const KEY = "deployment";
const ID_BYTES = 5;

const schema = z.object({ id: idSchema });

/** The configured name, or the one that the deployment's first node made: the same for every node, for ever. */
export async function deploymentId(
  buckets: Pick<Buckets, "get" | "put">,
  config: Pick<Config, "BERTH_DEPLOYMENT">,
): Promise<string> {
  if (config.BERTH_DEPLOYMENT !== undefined) return config.BERTH_DEPLOYMENT;
  const make = () => ({ id: `berth-${randomBytes(ID_BYTES).toString("hex")}` });
  return (await claimedValue(buckets, KEY, { schema, make })).id;
}
