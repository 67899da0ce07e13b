/** What a process of this machine has used so far, from Linux's files about processes. */
import { readFile } from "node:fs/promises";

export interface Usage {
  readonly cpuMs: number;
  /** Calls to the system that write: to sockets, in what is measured here. */
  readonly writes: number;
}

/** Of the kernel's clock, on every platform that Node runs on. */
const TICK_MS = 10;
/** Places of user and system time behind the name of the program, which may hold spaces. */
const USER = 11;
const SYSTEM = 12;

/** Undefined where there are no such files. */
export async function usageOf(pid: number): Promise<Usage | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8");
    const io = await readFile(`/proc/${pid}/io`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const ticks = Number(fields[USER]) + Number(fields[SYSTEM]);
    return { cpuMs: ticks * TICK_MS, writes: Number(/^syscw: (\d+)/m.exec(io)?.[1]) };
  } catch {
    return undefined;
  }
}
