/** What the process driver remembers of a worker on disk, so that it knows its own again after a restart. */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { workerSpecSchema } from "../../protocols/executor.ts";

const workerStateSchema = z.object({
  spec: workerSpecSchema,
  /** Null between the intent to start it and its start. */
  process: z.object({ pid: z.number(), started_at: z.number(), boot: z.string() }).nullable(),
});
export type WorkerState = z.infer<typeof workerStateSchema>;

export class WorkerStates {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  /** Readers see the old or the new state, never half of one. */
  write(state: WorkerState): void {
    const path = this.#path(state.spec.worker);
    writeFileSync(`${path}.new`, JSON.stringify(state), { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }

  remove(worker: string): void {
    rmSync(this.#path(worker), { force: true });
    rmSync(this.logPath(worker), { force: true });
  }

  /** A file that cannot be read is no worker's. */
  all(): WorkerState[] {
    return readdirSync(this.#folder)
      .filter((name) => name.endsWith(".json"))
      .map((name) => this.#read(join(this.#folder, name)))
      .filter((state) => state !== undefined);
  }

  logPath(worker: string): string {
    return join(this.#folder, `${worker}.log`);
  }

  #path(worker: string): string {
    return join(this.#folder, `${worker}.json`);
  }

  #read(path: string): WorkerState | undefined {
    try {
      return workerStateSchema.parse(JSON.parse(readFileSync(path, "utf8")));
    } catch {
      return undefined;
    }
  }
}
