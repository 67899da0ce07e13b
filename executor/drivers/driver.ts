/** The port to what starts workers. Every implementation passes one conformance suite (`test/conformance/driver.ts`). */
import type {
  BrokerCredential,
  BrokerTls,
  StartStep,
  WorkerSpec,
  WorkerUse,
} from "../../protocols/executor.ts";

/** How a worker finds its way back to us. */
export interface WorkerConnection {
  readonly natsUrl: string;
  /** Made for this worker; absent where all workers share one, which is in the URL. */
  readonly credential?: BrokerCredential;
  readonly tls?: BrokerTls | undefined;
  readonly partitions: number;
}

export interface LiveWorker {
  readonly worker: string;
  readonly spec: WorkerSpec;
}

export interface WorkerExit extends LiveWorker {
  readonly reason: string;
  readonly code: "worker.lost" | "worker.out_of_memory";
}

export interface KeptWorkspace {
  readonly tenant: string;
  readonly key: string;
  /** Milliseconds since the epoch. */
  readonly usedAt: number;
}

/** What is wanted of all that the driver made; what is not may go. */
export interface Wanted {
  /** As of a moment ago: what the driver has started since, or is starting, is wanted too. */
  readonly workers: ReadonlySet<string>;
  /** Whether anybody still counts on a workspace that no worker uses. Rejects when nobody can say: then it stays. */
  readonly isWorkspaceWanted: (workspace: KeptWorkspace) => Promise<boolean>;
  /** Told what stays until the next sweep, and why, while this one goes on. Throws when this one is to end. */
  readonly leave: (what: string, thrown: unknown) => void;
}

export interface Driver {
  readonly name: string;
  /** False: a worker can reach what its host can, and people are told so. */
  readonly isolates: boolean;
  /** What the back end cannot keep its workers from, each a sentence that people are told at the start. */
  readonly weaknesses: readonly string[];
  /** Resolves when the worker's process exists, not when it is ready. A worker that lives already is left as it is. Rejects with `driver.failed`. */
  start(
    spec: WorkerSpec,
    connection: WorkerConnection,
    onStep?: (step: StartStep) => void,
  ): Promise<void>;
  /** Resolves when no process of the worker is left; it is not reported as an exit. A worker that does not exist is gone. */
  stop(worker: string, options: { readonly keepWorkspace: boolean }): Promise<void>;
  /**
   * All that live, those too which an earlier process of ours started. Rejects with `driver.failed` when the back end
   * cannot say: who is not in the list counts as dead.
   */
  list(): Promise<readonly LiveWorker[]>;
  /** Tells of workers that ended by themselves, also of those that ended while nobody watched; what they had started is gone by then. */
  watch(onExit: (exit: WorkerExit) => void): void;
  /** Rejects with `id.invalid` for names that could lead elsewhere. */
  removeWorkspace(tenant: string, key: string): Promise<void>;
  /** What each live worker uses. */
  use(): Promise<ReadonlyMap<string, WorkerUse>>;
  /** Workers that are started and paused, nobody's yet, by tier. */
  dormant(): Readonly<Record<string, number>>;
  /** The last that a worker wrote, also of one that has ended, for a while. Undefined when nothing is known of it. */
  log(worker: string): Promise<string | undefined>;
  /** Removes what is not wanted and what a removal that failed had left; resolves with the names of what went, each after what it is: `workspace acme/u-ann`. */
  sweep(wanted: Wanted): Promise<readonly string[]>;
  /** Calls back when something may have changed that a sweep should look at: events of the engine, its return after a loss. */
  onChange(fn: () => void): void;
  /** Stops watching. Workers live on, for the next process to adopt; what is kept ready for others goes with `removeAll`. */
  dispose(options?: { readonly removeAll: boolean }): Promise<void>;
}
