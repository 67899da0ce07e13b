/** How much memory processes take. */
import { execFile } from "node:child_process";
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

/** Bytes of live objects in this process, after a full collection. */
export function heapBytes(): number {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  // Finalizers of the first run leave objects for the second.
  collect();
  collect();
  return process.memoryUsage().heapUsed;
}
