/** When a node was last heard of. A worker that no node answers any more is an orphan and ends itself. */
import type { Clock } from "../runtime/clock.ts";

export class Contact {
  readonly #clock: Clock;
  #seenAt: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#seenAt = clock.monotonic();
  }

  seen(): void {
    this.#seenAt = this.#clock.monotonic();
  }

  get silentMs(): number {
    return this.#clock.monotonic() - this.#seenAt;
  }
}
