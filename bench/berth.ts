/** A whole Berth in another process, with every limit lifted that would end a measurement. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type DevFile, devFileSchema } from "../protocols/api.ts";
import type { TierOverrides } from "../protocols/tiers.ts";
import { startChild } from "./child.ts";
import { CACHE_DIR, temporaryFolder } from "./place.ts";
import type { Bench } from "./scenario.ts";

const PLENTY = 1_000_000_000;

export async function startBerth(bench: Bench, slots: number): Promise<DevFile> {
  const dataDir = await temporaryFolder(bench);
  const open = {
    jobsPerHour: PLENTY,
    requestsPerMinute: PLENTY,
    streamsPerUser: PLENTY,
    streamsPerTenant: PLENTY,
    queuedJobs: 100_000,
  };
  const tiers: TierOverrides = {
    free: { ...open, slotsPerWorker: slots, minWorkers: 1, maxWorkers: 1 },
    pro: { ...open, slotsPerWorker: slots, concurrentJobs: slots },
    enterprise: open,
  };
  await startChild(bench, "berth", {
    env: {
      BERTH_DRIVER: "process",
      BERTH_DATA: dataDir,
      BERTH_CACHE: CACHE_DIR,
      BERTH_PORT: "0",
      BERTH_METRICS_PORT: "0",
      BERTH_NATS_PORT: "0",
      BERTH_TIERS: JSON.stringify(tiers),
      BERTH_OUTPUT_LIMIT_BYTES: String(PLENTY),
    },
  });
  return devFileSchema.parse(JSON.parse(await readFile(join(dataDir, "dev.json"), "utf8")));
}
