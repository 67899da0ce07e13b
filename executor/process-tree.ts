/**
 * All processes of one run: the one that was started and whatever it started. Invariants:
 * P1 a process is a member if its parent, session or group is a member's, if it was a member before, or if it
 *    carries the run's marker in its environment: a double fork with `setsid` loses its parent, not its marker.
 * P2 a signal goes only to a pid whose start time is the member's: a pid that was used again is a stranger.
 * P3 is `process-end.ts`.
 */
import type { Clock } from "../runtime/clock.ts";
import { endProcesses } from "./process-end.ts";
import { type ProcessEntry, ProcessSnapshot, readProcess, ticksToMs } from "./process-table.ts";

/** `<worker>.<job>.<attempt>.` in every agent's environment; what starts a worker sets `<worker>.`, so that one prefix names all of it. */
export const RUN_MARKER = "BERTH_RUN";

export function markerOf(...parts: readonly (string | number)[]): string {
  return `${RUN_MARKER}=${parts.map((part) => `${part}.`).join("")}`;
}

export interface TreeUse {
  readonly cpuMs: number;
  readonly memoryBytes: number;
}

export class ProcessTree {
  readonly #root: number | undefined;
  readonly #marker: string;
  readonly #clock: Clock;
  readonly #startedAt: number;
  #known = new Map<number, ProcessEntry>();
  #cpuTicks = 0;
  #lastTicks = 0;

  /** `root` leads its own session; without one, only the marker finds members. */
  constructor(options: {
    readonly root: number | undefined;
    readonly marker: string;
    readonly clock: Clock;
  }) {
    this.#root = options.root;
    this.#marker = options.marker;
    this.#clock = options.clock;
    const entry = options.root === undefined ? undefined : readProcess(options.root);
    this.#startedAt = entry?.startedAt ?? 0;
    if (entry !== undefined) this.#known.set(entry.pid, entry);
  }

  /** The members that live now (P1). Each look also remembers them, so that later ones find who has moved away. */
  look(snapshot = new ProcessSnapshot()): ProcessEntry[] {
    const members = decideMembers({
      table: snapshot.table,
      known: this.#known,
      root: this.#root,
      startedAt: this.#startedAt,
      isMarked: (pid) => snapshot.hasEnvironment(pid, this.#marker),
    });
    this.#known = new Map(members.map((entry) => [entry.pid, entry]));
    const ticks = members.reduce((sum, entry) => sum + entry.cpuTicks, 0);
    this.#cpuTicks += Math.max(0, ticks - this.#lastTicks);
    this.#lastTicks = ticks;
    return members;
  }

  /** CPU time only grows, also when members end. */
  use(): TreeUse {
    const memoryBytes = this.look().reduce((sum, entry) => sum + entry.memoryBytes, 0);
    return { cpuMs: ticksToMs(this.#cpuTicks), memoryBytes };
  }

  /** SIGTERM to all, SIGKILL after the grace, to newcomers too (P2, P3). Resolves with how many processes it met. */
  async kill(graceMs: number, onSwarm?: () => void): Promise<number> {
    return await endProcesses({ look: () => this.look(), graceMs, clock: this.#clock, onSwarm });
  }
}

/** P1 over one reading of the process table. */
export function decideMembers(view: {
  readonly table: readonly ProcessEntry[];
  readonly known: ReadonlyMap<number, ProcessEntry>;
  readonly root: number | undefined;
  readonly startedAt: number;
  readonly isMarked: (pid: number) => boolean;
}): ProcessEntry[] {
  const young = view.table.filter(
    (entry) => entry.startedAt >= view.startedAt && entry.pid !== process.pid,
  );
  const members = new Set<number>();
  const sessions = new Set(view.root === undefined ? [] : [view.root]);
  const join = (entry: ProcessEntry) => {
    members.add(entry.pid);
    sessions.add(entry.session).add(entry.group);
  };
  for (const entry of young) {
    const isKnown = view.known.get(entry.pid)?.startedAt === entry.startedAt;
    if (isKnown || entry.pid === view.root) join(entry);
  }
  let others = young.filter((entry) => !members.has(entry.pid));
  const isRelated = (entry: ProcessEntry) =>
    members.has(entry.parent) || sessions.has(entry.session) || sessions.has(entry.group);
  const spread = () => {
    for (let before = -1; before !== members.size; ) {
      before = members.size;
      for (const entry of others) if (isRelated(entry)) join(entry);
      others = others.filter((entry) => !members.has(entry.pid));
    }
  };
  spread();
  for (const entry of others) if (view.isMarked(entry.pid)) join(entry);
  spread();
  return young.filter((entry) => members.has(entry.pid));
}
