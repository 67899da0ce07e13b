/** Who comes first when a worker's memory or CPU time runs short: the executor, before all that it starts. */
import type { ChildProcess } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { constants, setPriority } from "node:os";

/** Of 1000: enough for the kernel to end it before us, whatever we hold. */
const OOM_SCORE = 500;

/**
 * Starts a process that the kernel ends before us, as all that it starts: it inherits our score, which we have for that
 * moment. Where nobody may look into us, we may not write it either, and set the child's a moment later.
 */
export function startFirstToGo<Child extends ChildProcess>(start: () => Child): Child {
  const own = tryRead();
  const isRaised = tryWrite("self", Math.max(OOM_SCORE, own));
  try {
    const child = start();
    if (!isRaised && child.pid !== undefined) tryWrite(child.pid, OOM_SCORE);
    return child;
  } finally {
    if (isRaised) tryWrite("self", own);
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

const pathOf = (pid: number | "self") => `/proc/${pid}/oom_score_adj`;

function tryRead(): number {
  try {
    return Number(readFileSync(pathOf("self"), "utf8"));
  } catch {
    return 0;
  }
}

/** False where we may not, or the kernel has no such scores. */
function tryWrite(pid: number | "self", score: number): boolean {
  try {
    writeFileSync(pathOf(pid), String(score));
    return true;
  } catch {
    return false;
  }
}
