/** A driver in memory whose operations a test delays and fails; its workers say hello if they are given a bus. */
import type {
  Driver,
  KeptWorkspace,
  LiveWorker,
  Wanted,
  WorkerConnection,
  WorkerExit,
} from "../../executor/drivers/driver.ts";
import { BerthError } from "../../protocols/errors.ts";
import type { WorkerSpec, WorkerUse } from "../../protocols/executor.ts";

type Operation = "start" | "stop" | "list" | "sweep";

/** Called before an operation takes effect: it delays by its promise and fails by its rejection. */
type Fault = (operation: Operation, worker?: string) => Promise<void> | void;

export class DriverDouble implements Driver {
  readonly name = "double";
  readonly isolates = true;
  readonly weaknesses: readonly string[] = [];
  readonly live = new Map<string, WorkerSpec>();
  readonly workspaces: KeptWorkspace[] = [];
  /** Names of things that a failed removal had left. */
  readonly leftovers = new Set<string>();
  /** What no sweep can remove. */
  readonly stuck = new Set<string>();
  /** Every worker that was started, ended ones too: once for each process made. */
  readonly made: string[] = [];
  readonly stopped: string[] = [];
  fault: Fault = () => {};
  /** Called when a worker's process exists, or is gone. */
  onLife: (spec: WorkerSpec, isUp: boolean) => void = () => {};
  #onExit: (exit: WorkerExit) => void = () => {};
  #onChange: () => void = () => {};

  async start(spec: WorkerSpec, _connection?: WorkerConnection): Promise<void> {
    await this.fault("start", spec.worker);
    if (this.live.has(spec.worker)) return;
    this.made.push(spec.worker);
    this.live.set(spec.worker, spec);
    this.onLife(spec, true);
  }

  async stop(worker: string): Promise<void> {
    await this.fault("stop", worker);
    this.vanish(worker);
    this.stopped.push(worker);
  }

  async list(): Promise<readonly LiveWorker[]> {
    await this.fault("list");
    return [...this.live].map(([worker, spec]) => ({ worker, spec }));
  }

  watch(onExit: (exit: WorkerExit) => void): void {
    this.#onExit = onExit;
  }

  onChange(fn: () => void): void {
    this.#onChange = fn;
  }

  /** As an event of the engine does. */
  change(): void {
    this.#onChange();
  }

  /** The worker ends by itself, and the driver tells of it. */
  exit(worker: string, reason = "killed", code: WorkerExit["code"] = "worker.lost"): void {
    const spec = this.live.get(worker);
    this.vanish(worker);
    if (spec) this.#onExit({ worker, spec, reason, code });
  }

  /** The worker is gone, and nobody noticed. */
  vanish(worker: string): void {
    const spec = this.live.get(worker);
    this.live.delete(worker);
    if (spec) this.onLife(spec, false);
  }

  async sweep({ isWorkspaceWanted, leave }: Wanted): Promise<readonly string[]> {
    await this.fault("sweep");
    for (const name of this.stuck)
      leave(name, new BerthError("driver.failed", "it is still there"));
    const removed = [...this.leftovers];
    this.leftovers.clear();
    for (const workspace of [...this.workspaces]) {
      const name = `workspace ${workspace.tenant}/${workspace.key}`;
      try {
        if (await isWorkspaceWanted(workspace)) continue;
      } catch (thrown) {
        leave(name, thrown);
        continue;
      }
      this.workspaces.splice(this.workspaces.indexOf(workspace), 1);
      removed.push(name);
    }
    return removed;
  }

  removeWorkspace(tenant: string, key: string): Promise<void> {
    const at = this.workspaces.findIndex((kept) => kept.tenant === tenant && kept.key === key);
    if (at >= 0) this.workspaces.splice(at, 1);
    return Promise.resolve();
  }

  use(): Promise<ReadonlyMap<string, WorkerUse>> {
    return Promise.resolve(new Map());
  }

  dormant(): Readonly<Record<string, number>> {
    return {};
  }

  log(): Promise<string | undefined> {
    return Promise.resolve(undefined);
  }

  dispose(): Promise<void> {
    return Promise.resolve();
  }
}

/** A fault that fails an operation so many times. */
export function failing(operation: Operation, times: number): Fault {
  let left = times;
  return (asked) => {
    if (asked !== operation || left <= 0) return;
    left -= 1;
    throw new BerthError("driver.failed", `the ${operation} failed on purpose`);
  };
}
