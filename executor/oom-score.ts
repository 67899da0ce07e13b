/** Which process the kernel ends first when memory runs out. */
import type { ChildProcess } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

/** Of 1000: enough to go before us, whatever we hold. */
const SCORE = 500;
const OWN = "/proc/self/oom_score_adj";

/** Starts a process that goes before us, as does all that it starts: it inherits our score, which we have for that moment. */
export function startFirstToGo<Child extends ChildProcess>(start: () => Child): Child {
  const own = tryRead();
  const isRaised = tryWrite(Math.max(SCORE, own));
  try {
    return start();
  } finally {
    if (isRaised) tryWrite(own);
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
