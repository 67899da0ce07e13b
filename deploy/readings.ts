/** A reading that is taken now and then until it is stopped: what gauges of other systems' values are made of. */
import type { Clock } from "../runtime/clock.ts";

interface Collaborators {
  readonly clock: Clock;
  /** From the end of a reading to the begin of the next. */
  readonly everyMs: number;
  /** Must not reject, and must have a bound of its own. */
  readonly read: () => void | Promise<void>;
}

export class Readings {
  readonly #parts: Collaborators;
  readonly #stop = new AbortController();
  #loop: Promise<void> = Promise.resolve();

  constructor(parts: Collaborators) {
    this.#parts = parts;
  }

  start(): void {
    this.#loop = this.#run();
  }

  /** Resolves when no reading is under way. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { clock, everyMs, read } = this.#parts;
    while (!this.#stop.signal.aborted) {
      await read();
      await clock.sleep(everyMs, this.#stop.signal);
    }
  }
}
