/**
 * A Docker Engine for the tests: the one that answers, or else one that is installed and started, where we are root on
 * Debian or a relative.
 *
 * Invariants:
 * D1 An engine that answers is used as it is. It is never stopped, and neither is one that runs without answering.
 * D2 One that we started is asked to stop by its own process, and by no other way. Containers in it live on.
 * D3 Every wait has a bound. Where no engine can be had, one sentence says so.
 */
import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { engineAnswers } from "../images/docker.mjs";
import { isInstalled } from "./command.mjs";
import { fromRoot, say } from "./place.mjs";
import { ensureSystemPackages } from "./system-packages.mjs";

const WITHOUT = "what needs Docker is skipped";
const PACKAGES = [
  { name: "docker.io", programs: ["dockerd"], without: WITHOUT },
  { name: "iptables", programs: ["iptables"], without: WITHOUT },
];
/** A package of its own in newer releases, a part of docker.io in older ones. */
const CLIENT = { name: "docker-cli", programs: ["docker"], without: WITHOUT };
/** dockerd's own: it refuses to start beside the process that this names. */
const PID_FILE = "/var/run/docker.pid";
const LOG = fromRoot(".berth", "dockerd.log");
const PATIENCE_MS = 60_000;
const POLL_MS = 200;

/** `{ stop, isOwn }`, the first to be called in the end; undefined where none can be had. */
export async function ensureDockerEngine() {
  if (engineAnswers()) return BORROWED;
  if (process.env.DOCKER_HOST !== undefined) return without("No Docker Engine at DOCKER_HOST");
  if (process.getuid?.() !== 0 || !isInstalled("apt-get")) {
    return without("No Docker Engine answers, and only root on Debian or Ubuntu starts one");
  }
  await ensureSystemPackages(PACKAGES);
  await ensureSystemPackages([CLIENT]);
  if (!["dockerd", "iptables", "docker"].every((program) => isInstalled(program))) return undefined;
  return isRunning() || engineAnswers() ? await borrow() : await start();
}

const BORROWED = { stop: () => Promise.resolve(), isOwn: false };

function without(reason) {
  say(`${reason}: ${WITHOUT}.`);
  return undefined;
}

/** D1: an engine that only starts, or is slow, is waited for. */
async function borrow() {
  const answers = await waitFor(() => true);
  return answers ? BORROWED : without("A Docker Engine runs here and does not answer");
}

function isRunning() {
  try {
    return existsSync(`/proc/${Number.parseInt(readFileSync(PID_FILE, "utf8"), 10)}`);
  } catch {
    return false;
  }
}

async function start() {
  say("starting a Docker Engine (dockerd)");
  mkdirSync(fromRoot(".berth"), { recursive: true });
  const log = openSync(LOG, "w");
  // A group of its own: a Ctrl-C is for the tests, which still need it to clean up.
  const child = spawn("dockerd", ["--live-restore"], {
    detached: true,
    stdio: ["ignore", log, log],
  });
  closeSync(log);
  let lives = true;
  const ended = new Promise((resolve) => {
    for (const event of ["error", "exit"]) {
      child.once(event, () => {
        lives = false;
        resolve();
      });
    }
  });
  const stop = () => (lives ? stopOwn(child, ended) : undefined);
  if (await waitFor(() => lives)) return { stop, isOwn: true };
  await stop();
  return without(`The Docker Engine did not start, see ${LOG}`);
}

/** D2. The handle is that of a process whose end we have not seen: its number is nobody else's. */
async function stopOwn(child, ended) {
  child.kill("SIGTERM");
  const late = new AbortController();
  const isLate = sleep(PATIENCE_MS, true, { signal: late.signal }).catch(() => false);
  if (await Promise.race([ended, isLate])) {
    say(`The Docker Engine that was started here does not stop: process ${child.pid}.`);
    child.unref();
  }
  late.abort();
}

/** D3. Whether an engine answers, while `lives` says that it still may. */
async function waitFor(lives) {
  const deadline = Date.now() + PATIENCE_MS;
  while (lives() && Date.now() < deadline) {
    if (engineAnswers()) return true;
    await sleep(POLL_MS);
  }
  return false;
}
