/** Installs the packages of the lock file, unless exactly those are there. */
import { mustRun } from "./command.mjs";
import { fromRoot, readJson, say } from "./place.mjs";

const TIMEOUT_MS = 10 * 60_000;

export async function ensureInstalled() {
  if (isUpToDate()) return;
  say("installing packages (npm ci)");
  await mustRun(
    "npm",
    ["ci", "--no-audit", "--no-fund", "--loglevel=error"],
    { timeoutMs: TIMEOUT_MS },
    "The packages could not be installed: see npm's message above, check the connection to the npm registry, and try again.",
  );
}

/** npm leaves a lock file of what it installed; packages of other platforms are rightly absent from it. */
function isUpToDate() {
  try {
    const wanted = readJson(fromRoot("package-lock.json")).packages;
    const present = readJson(fromRoot("node_modules", ".package-lock.json")).packages;
    return Object.entries(wanted).every(([path, entry]) => {
      if (path === "") return true;
      const found = present[path];
      if (found === undefined) return entry.optional === true || entry.devOptional === true;
      return found.version === entry.version && found.integrity === entry.integrity;
    });
  } catch {
    return false;
  }
}
