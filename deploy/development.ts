/** Ready-made tenants and keys for development: one of each tier and an operator, told in `.berth/dev.json`. */
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { SUPERVISOR_KEY, Supervisor } from "../protocols/actors/supervisor.ts";
import { type DevFile, devFileSchema } from "../protocols/api.ts";
import { TIERS, type Tier } from "../protocols/tiers.ts";
import type { Client } from "../runtime/client.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Transport } from "../runtime/transport.ts";
import { newKey, putKey } from "./keys.ts";

const DEV_FILE = "dev.json";
const DEV_USER = "dev";

interface Collaborators {
  readonly transport: Transport;
  readonly client: Client;
  readonly clock: Clock;
  readonly dataDir: string;
}

export const devTenant = (tier: Tier): string => `dev-${tier}`;

/** Makes the tenants and keys, or finds those of the last start: keys stay the same as long as the data does. */
export async function ensureDevelopment(parts: Collaborators): Promise<DevFile["keys"]> {
  const known = await readKeys(parts.dataDir);
  const keys = known ?? { free: newKey(), pro: newKey(), enterprise: newKey(), operator: newKey() };
  for (const tier of TIERS) {
    await parts.client
      .actor(Supervisor, devTenant(tier), SUPERVISOR_KEY)
      .configure(
        { tenant: { name: `Development, ${tier}`, tier, suspended: false } },
        { timeoutMs: 20_000 },
      );
    await putKey(parts, keys[tier], {
      name: `${tier} development key`,
      user: DEV_USER,
      tenant: devTenant(tier),
      scope: "tenant_admin",
    });
  }
  const operator = { name: "operator development key", user: DEV_USER, scope: "operator" } as const;
  await putKey(parts, keys.operator, operator);
  return keys;
}

/** Replaces the file in one step, readable by its owner alone: it holds keys. */
export async function writeDevFile(dataDir: string, file: DevFile): Promise<void> {
  await mkdir(dataDir, { recursive: true });
  const path = join(dataDir, DEV_FILE);
  const draft = `${path}.${process.pid}`;
  await writeFile(draft, `${JSON.stringify(devFileSchema.parse(file), null, 2)}\n`, {
    mode: 0o600,
  });
  await rename(draft, path);
}

async function readKeys(dataDir: string): Promise<DevFile["keys"] | undefined> {
  try {
    return devFileSchema.parse(JSON.parse(await readFile(join(dataDir, DEV_FILE), "utf8"))).keys;
  } catch {
    return undefined;
  }
}
