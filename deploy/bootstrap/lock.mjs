/**
 * One bootstrap at a time per checkout: `npm start` and `npm test` may be called at once, and both install
 * and build. The lock is a file that names its owner; that of a process that is gone is taken over.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { SetupError } from "./command.mjs";
import { fromRoot, say } from "./place.mjs";

const FILE = fromRoot(".berth", "bootstrap.lock");
const POLL_MS = 200;
const PATIENCE_MS = 15 * 60_000;
/** A file without a number in it was made this moment, or by a process that died while making it. */
const NAMELESS_MS = 2_000;

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
  let namelessSince;
  while (!tryAcquire()) {
    const pid = owner();
    namelessSince = Number.isInteger(pid) ? undefined : (namelessSince ?? Date.now());
    const isNobodys =
      namelessSince === undefined ? !isAlive(pid) : Date.now() - namelessSince > NAMELESS_MS;
    if (isNobodys) takeAway();
    else if (Date.now() - start > PATIENCE_MS) {
      throw new SetupError(
        `Process ${pid} has been setting up this checkout for too long: end it and try again.`,
      );
    } else {
      if (!told) say(`waiting for process ${pid}, which is setting up this checkout`);
      told = true;
      await sleep(POLL_MS);
    }
  }
}

function tryAcquire() {
  try {
    writeFileSync(FILE, `${process.pid}\n`, { flag: "wx" });
    return true;
  } catch (thrown) {
    if (thrown.code === "EEXIST") return false;
    throw thrown;
  }
}

/** Renamed first: of several that find a dead owner's lock, one alone gets the file. */
function takeAway() {
  const aside = `${FILE}.${process.pid}`;
  try {
    renameSync(FILE, aside);
    rmSync(aside, { force: true });
  } catch (thrown) {
    if (thrown.code !== "ENOENT") throw thrown;
  }
}

function owner() {
  try {
    return Number.parseInt(readFileSync(FILE, "utf8"), 10);
  } catch {
    return undefined;
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return thrown.code === "EPERM";
  }
}
