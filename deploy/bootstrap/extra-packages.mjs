/** Large npm packages that tests or benchmarks alone need: in a folder of the cache of their own, at fixed versions. */
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { run } from "./command.mjs";
import { CACHE, readJson, say } from "./place.mjs";

const TIMEOUT_MS = 10 * 60_000;

/**
 * `list` names a file beside this one whose dependencies are wanted, `what` what they are, `size` how much they weigh.
 * Whoever wants them does without when they cannot be installed; `without` says so.
 */
export async function ensureExtraPackages({ list, folder, what, size, without }) {
  const path = fileURLToPath(new URL(list, import.meta.url));
  const place = extraFolder(folder);
  if (arePresent(path, place)) return;
  say(`installing ${what} (about ${size}, once)`);
  mkdirSync(place, { recursive: true });
  copyFileSync(path, join(place, "package.json"));
  const code = await run("npm", ["install", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: place,
    timeoutMs: TIMEOUT_MS,
  });
  if (code !== 0) say(without);
}

export const extraFolder = (folder) => join(CACHE, folder);

function arePresent(path, place) {
  return Object.entries(readJson(path).dependencies).every(([name, version]) => {
    try {
      return readJson(join(place, "node_modules", name, "package.json")).version === version;
    } catch {
      return false;
    }
  });
}
