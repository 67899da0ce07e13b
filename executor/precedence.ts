/** Who comes first when a worker's memory or CPU time runs short: the executor, before all that it starts. */
import type { ChildProcess } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { constants, setPriority } from "node:os";

/** Of 1000: enough for the kernel to end it before us, whatever we hold. */
const OOM_SCORE = 500;
const OWN = "/proc/self/oom_score_adj";

/** Starts a process that the kernel ends before us, as all that it starts: it inherits our score, which we have for that moment. */
export function startFirstToGo<Child extends ChildProcess>(start: () => Child): Child {
  const own = tryRead();
  const isRaised = tryWrite(Math.max(OOM_SCORE, own));
  try {
    return start();
  } finally {
    if (isRaised) tryWrite(own);
  }
}

/** As many as may run beside us: together they leave us time to hear of a cancel, and to beat. For a container, where nobody else competes. */
export function letWait(pid: number): void {
  try {
    setPriority(pid, constants.priority.PRIORITY_LOW);
  } catch {
    // It has ended already.
  }
}

function tryRead(): number {
  try {
    return Number(readFileSync(OWN, "utf8"));
  } catch {
    return 0;
  }
}

/** False where the kernel has no such scores: then nobody goes first. */
function tryWrite(score: number): boolean {
  try {
    writeFileSync(OWN, String(score));
    return true;
  } catch {
    return false;
  }
}
