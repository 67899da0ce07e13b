/** Which nats-server is new enough: message schedules and per-message TTL came with 2.12. */
import { runCommand } from "./command.ts";

export const MIN_SERVER_VERSION = "2.12";

const PROBE_TIMEOUT_MS = 5_000;

/** `nats-server: v2.15.1` as `2.15.1`; undefined when the text names no version. */
export function tryParseServerVersion(text: string): string | undefined {
  return /\bv?(\d+\.\d+\.\d+(?:-[\w.]+)?)/.exec(text)?.[1];
}

/** Compares major and minor only. */
export function isNewEnough(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [minMajor = 0, minMinor = 0] = MIN_SERVER_VERSION.split(".").map(Number);
  return major > minMajor || (major === minMajor && minor >= minMinor);
}

/** Asks the program itself: one that does not start on this machine has no version. */
export async function tryServerVersion(binary: string): Promise<string | undefined> {
  const result = await runCommand(binary, ["--version"], { timeoutMs: PROBE_TIMEOUT_MS });
  return result.code === 0 ? tryParseServerVersion(result.stdout + result.stderr) : undefined;
}
