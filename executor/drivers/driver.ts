/** The port to what starts workers. Every implementation passes one conformance suite (`test/conformance/driver.ts`). */
import type { WorkerSpec } from "../../protocols/executor.ts";

/** How a worker finds its way back to us. */
export interface WorkerConnection {
  /** With the credential made for this worker. */
  readonly natsUrl: string;
  readonly partitions: number;
}

export interface LiveWorker {
  readonly worker: string;
  readonly spec: WorkerSpec;
}

export interface WorkerExit extends LiveWorker {
  readonly reason: string;
}

export interface Driver {
  readonly name: string;
  /** False: a worker can reach what its host can, and people are told so. */
  readonly isolates: boolean;
  /** Resolves when the worker's process exists, not when it is ready. A worker that lives already is left as it is. Rejects with `driver.failed`. */
  start(spec: WorkerSpec, connection: WorkerConnection): Promise<void>;
  /** Resolves when no process of the worker is left; it is not reported as an exit. A worker that does not exist is gone. */
  stop(worker: string, options: { readonly keepWorkspace: boolean }): Promise<void>;
  /** All that live, those too which an earlier process of ours started. */
  list(): Promise<readonly LiveWorker[]>;
  /** Tells of workers that ended by themselves, also of those that ended while nobody watched; what they had started is gone by then. */
  watch(onExit: (exit: WorkerExit) => void): void;
  /** Rejects with `id.invalid` for names that could lead elsewhere. */
  removeWorkspace(tenant: string, key: string): Promise<void>;
  /** Stops watching. Workers live on, for the next process to adopt. */
  dispose(): Promise<void>;
}
