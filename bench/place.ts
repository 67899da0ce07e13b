/** Where the built benchmark finds its programs and leaves its results. It runs from `dist` only. */
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

/** A folder that is gone when the scenario ends. */
export async function temporaryFolder(bench: Pick<Bench, "undo">): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "berth-bench-"));
  bench.undo(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}
