/** How much memory processes take. */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

const KIB = 1024;
const PS_MS = 5_000;

/** Bytes that another process has in memory. */
export async function residentBytes(pid: number): Promise<number> {
  const args = ["-o", "rss=", "-p", String(pid)];
  const { stdout } = await promisify(execFile)("ps", args, { timeout: PS_MS });
  return Number(stdout.trim()) * KIB;
}

/** Bytes that new processes could have without swapping. */
export async function availableBytes(): Promise<number> {
  const text = await readFile("/proc/meminfo", "utf8");
  return Number(/^MemAvailable:\s+(\d+) kB/m.exec(text)?.[1]) * KIB;
}

/** Bytes of live objects in this process, after a full collection. */
export function heapBytes(): number {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  // Finalizers of the first run leave objects for the second.
  collect();
  collect();
  return process.memoryUsage().heapUsed;
}
