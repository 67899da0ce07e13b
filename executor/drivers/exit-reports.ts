/** Ends of workers that a driver tells of: none is lost while nobody listens yet. */
import type { WorkerExit } from "./driver.ts";

export class ExitReports {
  #waiting: WorkerExit[] = [];
  #listener: ((exit: WorkerExit) => void) | undefined;

  /** Tells what has come before, too. */
  watch(listener: (exit: WorkerExit) => void): void {
    this.#listener = listener;
    for (const exit of this.#waiting.splice(0)) listener(exit);
  }

  tell(exit: WorkerExit): void {
    if (this.#listener) this.#listener(exit);
    else this.#waiting.push(exit);
  }

  /** From now on nobody listens. */
  close(): void {
    this.#listener = undefined;
  }
}
