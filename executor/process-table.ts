/** What `/proc` says about processes. Where there is none (not Linux) the table is empty. */
import { readdirSync, readFileSync } from "node:fs";

export interface ProcessEntry {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  readonly session: number;
  /** Clock ticks since boot: with the pid, an identity that is never used again. */
  readonly startedAt: number;
  readonly cpuTicks: number;
  readonly memoryBytes: number;
}

/** Linux fixes the unit of `/proc` times at 100 per second for user space. */
const TICK_MS = 10;
const PAGE_BYTES = 4096;

/** Every live process; the dead that nobody has waited for are left out. */
export function readProcessTable(): ProcessEntry[] {
  return listPids().flatMap((pid) => readProcess(pid) ?? []);
}

export function readProcess(pid: number): ProcessEntry | undefined {
  const stat = tryRead(`/proc/${pid}/stat`);
  return stat === undefined ? undefined : parseStat(stat);
}

/** A line of `/proc/<pid>/stat`; undefined for a process that is dead. The name in it may hold anything, so fields count from its end. */
export function parseStat(stat: string): ProcessEntry | undefined {
  const pid = Number.parseInt(stat, 10);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state] = fields;
  if (state === "Z" || state === "X" || state === undefined) return undefined;
  const at = (index: number) => Number(fields[index] ?? 0);
  return {
    pid,
    parent: at(1),
    group: at(2),
    session: at(3),
    startedAt: at(19),
    cpuTicks: at(11) + at(12) + at(13) + at(14),
    memoryBytes: at(21) * PAGE_BYTES,
  };
}

export function ticksToMs(ticks: number): number {
  return ticks * TICK_MS;
}

/** One reading of the process table, for all that look at the same time: no environment is read twice. */
export class ProcessSnapshot {
  readonly table: readonly ProcessEntry[] = readProcessTable();
  readonly #environments = new Map<number, readonly string[]>();

  /** Does the process carry a variable that begins so? False also when its environment may not be read. */
  hasEnvironment(pid: number, prefix: string): boolean {
    const variables = this.#environments.get(pid) ?? environmentOf(pid);
    this.#environments.set(pid, variables);
    return variables.some((variable) => variable.startsWith(prefix));
  }
}

/** The first process that carries exactly this variable. */
export function findByEnvironment(variable: string): number | undefined {
  return listPids().find((pid) => environmentOf(pid).includes(variable));
}

function environmentOf(pid: number): string[] {
  return tryRead(`/proc/${pid}/environ`)?.split("\0") ?? [];
}

function listPids(): number[] {
  try {
    return readdirSync("/proc").flatMap((name) => (/^\d+$/.test(name) ? Number(name) : []));
  } catch {
    return [];
  }
}

/** A process may end between any two reads. As UTF-8, which names need not be, because only that has Node's short path. */
function tryRead(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
