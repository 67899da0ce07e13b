/** Where the built benchmark finds its programs and leaves its results. It runs from `dist` only. */
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Bench } from "./scenario.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
export const CACHE_DIR = join(ROOT, ".berth", "cache");
export const RESULTS_DIR = join(ROOT, ".berth", "bench");

export const programPath = (name: string) =>
  fileURLToPath(new URL(`./programs/${name}.js`, import.meta.url));

/** Linux keeps what is written here in memory; elsewhere the temporary folder has to do. */
const MEMORY_DIR = "/dev/shm";

/** What a store survives: the death of its process alone, for it is in memory; or a power cut, once it is synced. */
export type Durability = "process" | "power";

/** A folder that is gone when the scenario ends. */
export async function temporaryFolder(
  bench: Pick<Bench, "undo">,
  durability: Durability = "power",
): Promise<string> {
  const isInMemory = durability === "process" && existsSync(MEMORY_DIR);
  const folder = await mkdtemp(join(isInMemory ? MEMORY_DIR : tmpdir(), "berth-bench-"));
  bench.undo(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}
