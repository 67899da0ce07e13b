/**
 * Ends processes that may go on starting others. Invariants:
 * P3 it resolves only when a look finds none; if some outlive even SIGKILL it rejects.
 */
import { BerthError } from "../protocols/errors.ts";
import type { Clock } from "../runtime/clock.ts";
import type { ProcessEntry } from "./process-table.ts";

/** Past this, those that do not die are stuck in the kernel, and waiting longer helps nobody. */
const KILL_BOUND_MS = 30_000;
const POLL_MS = 10;

/** SIGTERM to all that `look` finds, SIGKILL after the grace, to newcomers too. Resolves with how many processes it met. */
export async function endProcesses(
  look: () => readonly ProcessEntry[],
  graceMs: number,
  clock: Clock,
): Promise<number> {
  const met = new Set<string>();
  const started = clock.monotonic();
  let signalled = new Set<string>();
  let signal: NodeJS.Signals = "SIGTERM";
  for (;;) {
    const found = look();
    if (found.length === 0) return met.size;
    const elapsed = clock.monotonic() - started;
    if (signal === "SIGTERM" && elapsed >= graceMs) {
      signal = "SIGKILL";
      signalled = new Set();
    }
    if (elapsed > graceMs + KILL_BOUND_MS) {
      throw new BerthError("internal.unexpected", `${found.length} processes outlived SIGKILL`);
    }
    const fresh = found.filter((entry) => !signalled.has(identity(entry)));
    for (const entry of fresh) {
      met.add(identity(entry));
      signalled.add(identity(entry));
      send(entry, signal);
    }
    // Newcomers under SIGKILL mean that something forks as fast as it dies: look again at once.
    if (signal === "SIGTERM" || fresh.length === 0) await clock.sleep(POLL_MS);
  }
}

const identity = ({ pid, startedAt }: ProcessEntry) => `${pid}@${startedAt}`;

function send(entry: ProcessEntry, signal: NodeJS.Signals): void {
  try {
    process.kill(entry.pid, signal);
    // A stopped process takes a SIGTERM only once it runs.
    if (signal === "SIGTERM") process.kill(entry.pid, "SIGCONT");
  } catch {
    // It ended in between.
  }
}
