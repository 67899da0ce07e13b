/** What the kernel says of the memory of the control group that we live in: a container's own, seen from inside it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

export interface MemoryReading {
  /** Processes of the group that the kernel has ended for want of memory, since the group was made. */
  readonly oomKills: number;
  /** Undefined: no limit of the group's own. */
  readonly limitBytes: number | undefined;
}

export const CGROUP_ROOT = "/sys/fs/cgroup";

/** What stands for "no limit" in the first version is the largest number of whole pages. */
const UNLIMITED = 2 ** 62;

/** Of the second version of control groups, or of the first; undefined where there is neither. */
export function readMemory(root: string): MemoryReading | undefined {
  const found =
    tryRead(join(root, "memory.events"), join(root, "memory.max")) ??
    tryRead(join(root, "memory/memory.oom_control"), join(root, "memory/memory.limit_in_bytes"));
  if (found === undefined) return undefined;
  const oomKills = /^oom_kill (\d+)$/m.exec(found.events)?.[1];
  if (oomKills === undefined) return undefined;
  const limit = Number(found.limit);
  return { oomKills: Number(oomKills), limitBytes: limit < UNLIMITED ? limit : undefined };
}

/** The later reading when the kernel ended somebody in between. */
export function decideOutOfMemory(
  before: MemoryReading | undefined,
  after: MemoryReading | undefined,
): MemoryReading | undefined {
  if (before === undefined || after === undefined) return undefined;
  return after.oomKills > before.oomKills ? after : undefined;
}

function tryRead(events: string, limit: string) {
  try {
    return { events: readFileSync(events, "utf8"), limit: readFileSync(limit, "utf8") };
  } catch {
    return undefined;
  }
}
