/**
 * One bootstrap at a time per checkout: `npm start` and `npm test` may be called at once, and both install
 * and build. The lock is a file that names its owner; that of a process that is gone is taken over.
 */
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { SetupError } from "./command.mjs";
import { fromRoot, say } from "./place.mjs";

const FILE = fromRoot(".berth", "bootstrap.lock");
/** Ours alone: written here, then put in place whole, so that no lock is ever without an owner. */
const DRAFT = `${FILE}.${process.pid}`;
const POLL_MS = 200;
const PATIENCE_MS = 15 * 60_000;

export async function withBootstrapLock(work) {
  mkdirSync(fromRoot(".berth"), { recursive: true });
  await acquire();
  try {
    return await work();
  } finally {
    if (owner() === process.pid) rmSync(FILE, { force: true });
  }
}

async function acquire() {
  const start = Date.now();
  let told = false;
  while (!tryAcquire()) {
    const pid = owner();
    if (pid === undefined) continue;
    if (!isAlive(pid)) {
      takeAway(pid);
      continue;
    }
    if (Date.now() - start > PATIENCE_MS) {
      throw new SetupError(
        `Process ${pid} has been setting up this checkout for too long: end it and try again.`,
      );
    }
    if (!told) say(`waiting for process ${pid}, which is setting up this checkout`);
    told = true;
    await sleep(POLL_MS);
  }
}

function tryAcquire() {
  writeFileSync(DRAFT, `${process.pid}\n`);
  try {
    linkSync(DRAFT, FILE);
    return true;
  } catch (thrown) {
    if (thrown.code === "EEXIST") return false;
    throw thrown;
  } finally {
    rmSync(DRAFT, { force: true });
  }
}

/** Of several that find a dead owner's lock one alone gets the file; who got a living owner's gives it back. */
function takeAway(dead) {
  try {
    renameSync(FILE, DRAFT);
    if (owner(DRAFT) !== dead) linkSync(DRAFT, FILE);
  } catch (thrown) {
    if (thrown.code !== "ENOENT" && thrown.code !== "EEXIST") throw thrown;
  } finally {
    rmSync(DRAFT, { force: true });
  }
}

/** The process that holds the lock; undefined when there is none, 0 when the file names nobody. */
function owner(file = FILE) {
  try {
    const pid = Number.parseInt(readFileSync(file, "utf8"), 10);
    return Number.isInteger(pid) ? pid : 0;
  } catch {
    return undefined;
  }
}

function isAlive(pid) {
  if (pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return thrown.code === "EPERM";
  }
}
