/**
 * Keeps work that never waits for the broker from keeping everybody else waiting: handlers that change nothing,
 * mail that is sorted into inboxes. All of a node's such work shares one slice of each pass of the event loop.
 */
import type { Clock } from "./clock.ts";

/** A pass of the event loop may take so long before its workers let sockets and timers in. */
const SLICE_MS = 5;

export class Pace {
  readonly #clock: Clock;
  #since = 0;
  #next: Promise<void> | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Call between two pieces of work. Resolves at once while the slice lasts, else in a later pass. */
  async rest(): Promise<void> {
    while (this.isSpent) await this.#next;
  }

  /** Whether `rest` would wait: asked first where a promise for each piece would cost too much. */
  get isSpent(): boolean {
    const now = this.#clock.monotonic();
    if (this.#next) return now - this.#since >= SLICE_MS;
    this.#since = now;
    this.#next = new Promise((resolve) => {
      setImmediate(() => {
        this.#next = undefined;
        resolve();
      });
    });
    return false;
  }
}
