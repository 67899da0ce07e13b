/**
 * `npm start`: everything that a fresh machine needs, then `berth up` with the arguments given. All in this one
 * process, so that killing it leaves nothing behind.
 */
import "./node-version.mjs";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { runMain } from "./command.mjs";
import { offerExecutorImage } from "./image-offer.mjs";
import { DIST, ROOT } from "./place.mjs";
import { prepare } from "./prepare.mjs";

const PARENT_POLL_MS = 1_000;

await runMain(async () => {
  process.chdir(ROOT);
  await prepare();
  stopWithNpm();
  await offerExecutorImage();
  const main = join(DIST, "deploy", "main.js");
  process.argv.splice(1, 1, main, "up");
  await import(pathToFileURL(main).href);
});

/** npm passes signals on; when it is killed hard it cannot, so that we look whether it still is our ancestor. */
function stopWithNpm() {
  if (process.env.npm_lifecycle_event === undefined) return;
  const npm = findNpm();
  const timer = setInterval(() => {
    if (findNpm() === npm) return;
    clearInterval(timer);
    process.kill(process.pid, "SIGTERM");
  }, PARENT_POLL_MS);
  timer.unref();
}

/** npm is our parent, or that of the shell that it starts scripts with. */
function findNpm() {
  const { ppid } = process;
  try {
    const stat = readFileSync(`/proc/${ppid}/stat`, "utf8");
    const [, name, parent] = /\((.*)\) \S (\d+)/.exec(stat) ?? [];
    return /^(ba|da)?sh$/.test(name) ? Number(parent) : ppid;
  } catch {
    return ppid;
  }
}
