/**
 * The container that one worker has to itself: what a job leaves in it outside of its own tree and workspace. Invariants:
 * K1 `release` resolves only when no process is left that a job has started, save those of jobs that still run: also one
 *    that left its parent, its session and its environment behind.
 * K2 with workspaces of mode `job`, a job that enters finds nothing that another has left: files, memory, queues. Jobs
 *    side by side share these places, so they are emptied when the last has left and before another enters.
 * K3 when that fails, nobody enters any more.
 */
import { readlinkSync } from "node:fs";
import { BerthError } from "../protocols/errors.ts";
import type { Clock } from "../runtime/clock.ts";
import type { ExecutorConfig } from "./config.ts";
import { CGROUP_ROOT, type MemoryReading, readMemory } from "./memory-cgroup.ts";
import { endProcesses } from "./process-end.ts";
import { ProcessSnapshot } from "./process-table.ts";
import type { ProcessTree } from "./process-tree.ts";
import { emptyPlaces, SHARED_PLACES } from "./shared-places.ts";
import { decideStrays } from "./strays.ts";
import { removeSystemV } from "./system-v.ts";

/** What a job needs of it. */
export type Premises = Pick<
  Container,
  "enter" | "hold" | "killAll" | "release" | "leave" | "memory"
>;

/** But ourselves and init, as the kernel takes it. */
const EVERYBODY = -1;
/** The machine's own, by the kernel's fixed number: there, all other processes would be strays. */
const MACHINE_PROCESSES = "pid:[4026531836]";

export class Container {
  readonly #config: Pick<ExecutorConfig, "workspace" | "path">;
  readonly #clock: Clock;
  readonly #trees = new Set<ProcessTree>();
  #inside = 0;
  #emptied: Promise<void> = Promise.resolve();

  private constructor(config: Pick<ExecutorConfig, "workspace" | "path">, clock: Clock) {
    this.#config = config;
    this.#clock = clock;
  }

  /** Throws `config.invalid` where this process is not the container's own program, the only one beside its init. */
  static own(config: Pick<ExecutorConfig, "workspace" | "path">, clock: Clock): Container {
    const isOurs =
      // A parent of number 0 is outside: another program is the container's first.
      (process.pid === 1 || process.ppid <= 1) &&
      readlinkSync("/proc/self/ns/pid") !== MACHINE_PROCESSES;
    if (!isOurs)
      throw new BerthError(
        "config.invalid",
        "BERTH_ISOLATED is for the program of a container that has its processes to itself",
      );
    return new Container(config, clock);
  }

  memory(): MemoryReading | undefined {
    return readMemory(CGROUP_ROOT);
  }

  /** Waits until what earlier jobs left is gone (K2); rejects when it cannot be removed (K3). */
  async enter(): Promise<void> {
    this.#inside += 1;
    await this.#emptied;
  }

  /** Processes of a job that runs: its own, until it is released. */
  hold(tree: ProcessTree): void {
    this.#trees.add(tree);
  }

  /**
   * SIGKILL to all at one instant, who came from outside among them, unless another job runs: the last resort against
   * what forks faster than it can be listed.
   */
  killAll(tree: ProcessTree): void {
    if ([...this.#trees].some((other) => other !== tree)) return;
    try {
      process.kill(EVERYBODY, "SIGKILL");
    } catch {
      // There is nobody.
    }
  }

  /** Ends what belongs to no other tree (K1). Resolves with how many processes it met. */
  async release(tree: ProcessTree): Promise<number> {
    this.#trees.delete(tree);
    return await endProcesses({
      look: () => this.#strays(),
      graceMs: 0,
      clock: this.#clock,
      onSwarm: () => this.killAll(tree),
    });
  }

  /** After `release` (K2). Rejects when something is left. */
  async leave(): Promise<void> {
    this.#inside -= 1;
    if (this.#inside > 0 || this.#config.workspace.mode !== "job") return;
    this.#emptied = this.#empty();
    await this.#emptied;
  }

  #strays() {
    const snapshot = new ProcessSnapshot();
    const spared = [...this.#trees].flatMap((tree) => tree.look(snapshot));
    return decideStrays({
      table: snapshot.table,
      self: process.pid,
      spared: new Set(spared.map(({ pid }) => pid)),
    });
  }

  async #empty(): Promise<void> {
    await emptyPlaces([this.#config.workspace.root, ...SHARED_PLACES]);
    await removeSystemV(this.#config.path);
  }
}
