/** Processes that a job left where nothing ties them to it any more: no parent, session, group or marker. */
import type { ProcessEntry } from "./process-table.ts";

const INIT = 1;

/**
 * All but: init, this process and what stands between them, `spared`, and what came in from outside the container (a
 * health check, a person's shell): its topmost parent is outside, which no process of a job can bring about.
 */
export function decideStrays(view: {
  readonly table: readonly ProcessEntry[];
  /** The executor. */
  readonly self: number;
  /** Of other jobs. */
  readonly spared: ReadonlySet<number>;
}): ProcessEntry[] {
  const entries = new Map(view.table.map((entry) => [entry.pid, entry]));
  const ours = new Set([INIT, ...lineOf(view.self, entries)]);
  const isFromOutside = (pid: number) => {
    const line = lineOf(pid, entries);
    const top = line.at(-1) ?? pid;
    // We may have come in from outside ourselves: what we started has not.
    return top !== INIT && !line.includes(view.self) && entries.get(top)?.parent === 0;
  };
  return view.table.filter(
    ({ pid }) => !ours.has(pid) && !view.spared.has(pid) && !isFromOutside(pid),
  );
}

/** The process, its parent and so on, as far as the table knows them. */
function lineOf(pid: number, entries: ReadonlyMap<number, ProcessEntry>): number[] {
  const line = new Set<number>();
  // A table that is read while pids are used again may hold a ring.
  for (let at = pid; entries.has(at) && !line.has(at); at = entries.get(at)?.parent ?? 0)
    line.add(at);
  return [...line];
}
