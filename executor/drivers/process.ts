/**
 * Workers as child processes: the default where there is no container engine. It does NOT isolate: agents run as our own
 * user, see its files and share its network. Invariants:
 * D1 the intent to start is on disk before the process is, so none is ever forgotten.
 * D2 a pid alone names nobody: its start time, and the boot it belongs to, are compared as well.
 * D3 an exit is reported when every process that the worker had started is gone.
 * D4 workers outlive us: they lead sessions of their own, and write to a file.
 */
import { spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import type { Writable } from "node:stream";
import { asBerthError, BerthError } from "../../protocols/errors.ts";
import type { WorkerSpec, WorkerUse } from "../../protocols/executor.ts";
import { parseId } from "../../protocols/ids.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Logger } from "../../runtime/logger.ts";
import { formatIdentity, identityOf, ON_STANDARD_INPUT } from "../identity.ts";
import { findByEnvironment, ProcessSnapshot, readProcess, ticksToMs } from "../process-table.ts";
import { markerOf, ProcessTree, RUN_MARKER } from "../process-tree.ts";
import type { Driver, LiveWorker, Wanted, WorkerConnection, WorkerExit } from "./driver.ts";
import { ExitReports } from "./exit-reports.ts";
import { KeptLogs } from "./kept-logs.ts";
import { lastWord } from "./last-word.ts";
import { ProcessWorkspaces } from "./process-workspaces.ts";
import { type WorkerState, WorkerStates } from "./worker-state.ts";

export interface ProcessDriverOptions {
  /** Holds `workers/` and the kept `workspaces/`. */
  readonly dataDir: string;
  /** The worker's program and its first arguments, such as `[process.execPath, "dist/executor/main.js"]`. */
  readonly command: readonly [string, ...string[]];
  /** Handed on to workers: search path, language, certificates. Nothing secret. */
  readonly env: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly log: Logger;
  /** For a worker to end its jobs after SIGTERM (default 10 s). */
  readonly graceMs?: number;
}

const WATCH_MS = 250;
/** What a dead process had in its memory is nobody's to keep: keys of users are in it. The shell becomes the worker. */
const WITHOUT_CORE_DUMPS = 'ulimit -c 0; exec "$0" "$@"';
const DEFAULT_GRACE_MS = 10_000;
const MAX_LOG_BYTES = 1024 * 1024;
const LOG_TAIL_UNITS = 1_000;

interface Known {
  readonly spec: WorkerSpec;
  readonly pid: number;
  readonly startedAt: number;
  /** Set while we end it ourselves: then its end is no news. */
  isStopping: boolean;
}

export class ProcessDriver implements Driver {
  readonly name = "process";
  readonly isolates = false;
  readonly weaknesses = [
    "workers are processes of this machine and NOT isolated: run trusted agents only",
  ];
  readonly #options: ProcessDriverOptions;
  readonly #states: WorkerStates;
  readonly #logs: KeptLogs;
  readonly #workspaces: ProcessWorkspaces;
  readonly #boot = bootId();
  readonly #known = new Map<string, Known>();
  readonly #starting = new Map<string, Promise<void>>();
  #isDisposed = false;
  readonly #exits = new ExitReports();
  #cancelWatch: () => void;

  private constructor(options: ProcessDriverOptions) {
    this.#options = options;
    this.#states = new WorkerStates(join(options.dataDir, "workers"));
    this.#workspaces = new ProcessWorkspaces(options.dataDir);
    this.#logs = new KeptLogs(join(options.dataDir, "workers", "ended"));
    this.#cancelWatch = () => {};
  }

  /** Adopts what lives, and cleans up after what died meanwhile. */
  static async open(options: ProcessDriverOptions): Promise<ProcessDriver> {
    const driver = new ProcessDriver(options);
    options.log.warn(
      { driver: "process" },
      "the process driver does not isolate: run trusted agents only",
    );
    for (const state of driver.#states.all()) await driver.#adopt(state);
    driver.#watchAgain();
    return driver;
  }

  async start(spec: WorkerSpec, connection: WorkerConnection): Promise<void> {
    parseId(spec.worker, "worker");
    if (this.#known.has(spec.worker)) return;
    const starting = this.#starting.get(spec.worker) ?? this.#start(spec, connection);
    this.#starting.set(spec.worker, starting);
    await starting.finally(() => this.#starting.delete(spec.worker));
  }

  async #start(spec: WorkerSpec, connection: WorkerConnection): Promise<void> {
    this.#states.write({ spec, process: null });
    try {
      const pid = await this.#spawn(spec, connection);
      this.#keep(spec, pid);
    } catch (thrown) {
      this.#states.remove(spec.worker);
      throw asBerthError(thrown, "driver.failed");
    }
  }

  async stop(
    worker: string,
    { keepWorkspace }: { readonly keepWorkspace: boolean },
  ): Promise<void> {
    parseId(worker, "worker");
    await this.#starting.get(worker)?.catch(() => {});
    const known = this.#known.get(worker);
    if (known === undefined) return;
    known.isStopping = true;
    signal(known.pid, "SIGTERM");
    const until = this.#options.clock.monotonic() + (this.#options.graceMs ?? DEFAULT_GRACE_MS);
    while (isAlive(known) && this.#options.clock.monotonic() < until)
      await this.#options.clock.sleep(10);
    await this.#treeOf(known).kill(0);
    await this.#forget(known);
    const { tenant, workspace, workspace_key } = known.spec;
    if (!keepWorkspace && workspace !== "job") await this.removeWorkspace(tenant, workspace_key);
  }

  list(): Promise<readonly LiveWorker[]> {
    return Promise.resolve(
      [...this.#known.values()].map(({ spec }) => ({ worker: spec.worker, spec })),
    );
  }

  watch(onExit: (exit: WorkerExit) => void): void {
    this.#exits.watch(onExit);
  }

  async removeWorkspace(tenant: string, key: string): Promise<void> {
    await this.#workspaces.remove(tenant, key);
  }

  use(): Promise<ReadonlyMap<string, WorkerUse>> {
    const snapshot = new ProcessSnapshot();
    const entries = [...this.#known.values()].map((known): [string, WorkerUse] => {
      const members = this.#treeOf(known).look(snapshot);
      const sum = (of: (member: (typeof members)[number]) => number) =>
        members.reduce((total, member) => total + of(member), 0);
      const use = {
        image: null,
        cpu_ms: ticksToMs(sum(({ cpuTicks }) => cpuTicks)),
        memory_bytes: sum(({ memoryBytes }) => memoryBytes),
        memory_limit_bytes: null,
        processes: members.length,
      };
      return [known.spec.worker, use];
    });
    return Promise.resolve(new Map(entries));
  }

  dormant(): Readonly<Record<string, number>> {
    return {};
  }

  log(worker: string): Promise<string | undefined> {
    const tail = this.#known.has(worker) ? this.logTail(worker) : this.#logs.read(worker);
    return Promise.resolve(tail);
  }

  sweep(wanted: Wanted): Promise<readonly string[]> {
    const specs = () => this.#states.all().map(({ spec }) => spec); // D1: those that start, too
    return this.#workspaces.sweep(specs, wanted);
  }

  /** Nothing but workers that end changes here, and of those `watch` tells. */
  onChange(): void {}

  /** D4. */
  dispose(): Promise<void> {
    this.#isDisposed = true;
    this.#cancelWatch();
    this.#exits.close();
    return Promise.resolve();
  }

  /** The last lines that the worker wrote. */
  logTail(worker: string): string {
    try {
      return readFileSync(this.#states.logPath(worker), "utf8").slice(-LOG_TAIL_UNITS);
    } catch {
      return "";
    }
  }

  async #spawn(spec: WorkerSpec, connection: WorkerConnection): Promise<number> {
    const { command } = this.#options;
    const log = openSync(this.#states.logPath(spec.worker), "a", 0o600);
    try {
      const env = {
        ...this.#options.env,
        ...workerEnvironment(spec, this.#workspaces.rootOf(spec)),
      };
      const args = ["-c", WITHOUT_CORE_DUMPS, ...command];
      const child = spawn("/bin/sh", args, { detached: true, stdio: ["pipe", log, log], env });
      child.unref();
      await new Promise<void>((resolve, reject) => {
        child.once("spawn", resolve);
        child.once("error", reject);
      });
      if (child.pid === undefined) throw new BerthError("driver.failed", "The process has no pid");
      child.once("exit", () => void this.#check());
      await tell(child.stdin, formatIdentity(identityOf(spec, connection)));
      return child.pid;
    } finally {
      closeSync(log);
    }
  }

  /** D1, D2. */
  #keep(spec: WorkerSpec, pid: number): void {
    const startedAt = readProcess(pid)?.startedAt ?? 0;
    this.#states.write({ spec, process: { pid, started_at: startedAt, boot: this.#boot } });
    this.#known.set(spec.worker, { spec, pid, startedAt, isStopping: false });
  }

  async #adopt({ spec, process: recorded }: WorkerState): Promise<void> {
    if (recorded === null) {
      // D1: it may have been started by a process of ours that died before it could say so.
      const pid = findByEnvironment(markerOf(spec.worker));
      if (pid !== undefined) return this.#keep(spec, pid);
    } else if (recorded.boot === this.#boot) {
      const known = { spec, pid: recorded.pid, startedAt: recorded.started_at, isStopping: false };
      if (isAlive(known)) return void this.#known.set(spec.worker, known);
    }
    await this.#bury(
      { spec, pid: 0, startedAt: 0, isStopping: false },
      "it had ended before this node started",
    );
  }

  #watchAgain(): void {
    this.#cancelWatch = this.#options.clock.after(WATCH_MS, () => {
      void this.#check();
      for (const worker of this.#known.keys()) capLog(this.#states.logPath(worker));
      this.#watchAgain();
    });
  }

  async #check(): Promise<void> {
    for (const known of this.#known.values()) {
      if (this.#isDisposed || known.isStopping || isAlive(known)) continue;
      known.isStopping = true;
      await this.#bury(known, `its process ended: ${lastWord(this.logTail(known.spec.worker))}`);
    }
  }

  /** D3. */
  async #bury(known: Known, reason: string): Promise<void> {
    const { spec } = known;
    const exit = { worker: spec.worker, spec, reason, code: "worker.lost" } as const;
    try {
      await this.#treeOf(known).kill(0);
      await this.#forget(known);
    } catch (thrown) {
      this.#options.log.error(
        { worker: exit.worker, error: asBerthError(thrown).message },
        "a dead worker left something",
      );
    }
    this.#exits.tell(exit);
  }

  async #forget({ spec }: Known): Promise<void> {
    this.#known.delete(spec.worker);
    this.#logs.save(spec.worker, this.logTail(spec.worker));
    this.#states.remove(spec.worker);
    await this.#workspaces.forget(spec);
  }

  #treeOf(known: Known): ProcessTree {
    const marker = markerOf(known.spec.worker);
    return new ProcessTree({
      root: isAlive(known) ? known.pid : undefined,
      marker,
      clock: this.#options.clock,
    });
  }
}

function workerEnvironment(spec: WorkerSpec, root: string): Record<string, string> {
  return {
    BERTH_WORKER: spec.worker,
    [RUN_MARKER]: `${spec.worker}.`,
    // Agents run as the same user, and could read a credential here.
    BERTH_IDENTITY: ON_STANDARD_INPUT,
    BERTH_WORKSPACE: root,
  };
}

/** Resolves when all of it is in the pipe, or the worker has ended, of which `watch` tells. */
function tell(stdin: Writable | null, identity: string): Promise<void> {
  return new Promise((resolve) => {
    stdin?.once("error", () => resolve()).end(identity, () => resolve());
  });
}

/** D2. */
function isAlive({ pid, startedAt }: Known): boolean {
  return readProcess(pid)?.startedAt === startedAt;
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It is gone.
  }
}

function bootId(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return "unknown";
  }
}

/** The worker appends, so a file cut to nothing goes on from its start. */
function capLog(path: string): void {
  try {
    if (statSync(path).size > MAX_LOG_BYTES) truncateSync(path, 0);
  } catch {
    // It is gone with its worker.
  }
}
