/**
 * Ends processes that may go on starting others. Invariants:
 * P3 it resolves only when a look finds none; if some outlive even SIGKILL it rejects.
 */
import { BerthError } from "../protocols/errors.ts";
import type { Clock } from "../runtime/clock.ts";
import { type ProcessEntry, readProcess } from "./process-table.ts";

export interface Ending {
  /** Those to end. All of a process group, or none of it: SIGKILL goes to groups. */
  readonly look: () => readonly ProcessEntry[];
  /** Between SIGTERM and SIGKILL. */
  readonly graceMs: number;
  readonly clock: Clock;
  /** Called when they start others faster than we can list them. */
  readonly onSwarm?: (() => void) | undefined;
}

/** Past this, those that do not die are stuck in the kernel, and waiting longer helps nobody. */
const KILL_BOUND_MS = 30_000;
const POLL_MS = 10;
/** Rounds of SIGKILL in which each look finds newcomers. */
const SWARM_ROUNDS = 5;

/** SIGTERM to all that `look` finds, SIGKILL after the grace, to newcomers too. Resolves with how many processes it met. */
export async function endProcesses(ending: Ending): Promise<number> {
  const asked = await terminateAll(ending);
  const killed = await killAll(ending);
  return new Set([...asked, ...killed]).size;
}

/** Until none is left, or the grace is over. */
async function terminateAll({ look, graceMs, clock }: Ending): Promise<ReadonlySet<string>> {
  const met = new Set<string>();
  const until = clock.monotonic() + graceMs;
  while (clock.monotonic() < until) {
    const found = look();
    if (found.length === 0) break;
    for (const { pid } of newcomers(found, met)) terminate(pid);
    await clock.sleep(POLL_MS);
  }
  return met;
}

async function killAll({ look, clock, onSwarm }: Ending): Promise<ReadonlySet<string>> {
  const met = new Set<string>();
  const until = clock.monotonic() + KILL_BOUND_MS;
  let rounds = 0;
  for (let found = look(); found.length > 0; found = look()) {
    if (clock.monotonic() > until)
      throw new BerthError("internal.unexpected", `${found.length} processes outlived SIGKILL`);
    const fresh = newcomers(found, met);
    kill(fresh);
    rounds = fresh.length === 0 ? 0 : rounds + 1;
    if (rounds > SWARM_ROUNDS) onSwarm?.();
    // Newcomers mean that something forks as fast as it dies: look again at once.
    await clock.sleep(fresh.length === 0 ? POLL_MS : 0);
  }
  return met;
}

/** Those that have not been met; now they have. */
function newcomers(found: readonly ProcessEntry[], met: Set<string>): ProcessEntry[] {
  const fresh = found.filter((entry) => !met.has(identity(entry)));
  for (const entry of fresh) met.add(identity(entry));
  return fresh;
}

const identity = ({ pid, startedAt }: ProcessEntry) => `${pid}@${startedAt}`;

/** Groups first: the kernel reaches a whole group at one instant, in which none of it can fork. Never our own, and -1 is everybody. */
function kill(entries: readonly ProcessEntry[]): void {
  const groups = new Set(entries.map((entry) => entry.group));
  groups.delete(readProcess(process.pid)?.group ?? 0);
  for (const group of groups) if (group > 1) send(-group, "SIGKILL");
  for (const { pid } of entries) send(pid, "SIGKILL");
}

function terminate(pid: number): void {
  send(pid, "SIGTERM");
  // A stopped process takes a SIGTERM only once it runs.
  send(pid, "SIGCONT");
}

function send(target: number, signal: NodeJS.Signals): void {
  try {
    process.kill(target, signal);
  } catch {
    // It ended in between.
  }
}
