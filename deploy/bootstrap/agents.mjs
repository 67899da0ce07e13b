/** The agents' real command line tools, installed for the tests alone: they are large, and `npm start` needs none. */
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { run } from "./command.mjs";
import { CACHE, readJson, say } from "./place.mjs";

const LIST = fileURLToPath(new URL("./agents.json", import.meta.url));
const FOLDER = join(CACHE, "agents");
const TIMEOUT_MS = 10 * 60_000;

/** To be put in front of the PATH. */
export const AGENTS_PATH = join(FOLDER, "node_modules", ".bin");

/** Without them their tests skip themselves, loudly. */
export async function ensureAgents() {
  if (arePresent()) return;
  say("installing the agents' command line tools for their tests (about 640 MB, once)");
  mkdirSync(FOLDER, { recursive: true });
  copyFileSync(LIST, join(FOLDER, "package.json"));
  const code = await run("npm", ["install", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: FOLDER,
    timeoutMs: TIMEOUT_MS,
  });
  if (code !== 0)
    say("The agents' command line tools could not be installed: their tests are skipped.");
}

function arePresent() {
  return Object.entries(readJson(LIST).dependencies).every(([name, version]) => {
    try {
      return readJson(join(FOLDER, "node_modules", name, "package.json")).version === version;
    } catch {
      return false;
    }
  });
}
