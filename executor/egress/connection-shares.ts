/**
 * Who holds how many of a bounded number of connections.
 *
 * Invariant:
 * H1 Whatever others hold, an owner that has few gets one more at once: see `decideConnection`. Nobody who holds one has to go.
 */
import { decideConnection } from "./decide-connection.ts";

export class ConnectionShares {
  readonly #total: number;
  readonly #held = new Map<string, number>();
  #taken = 0;

  constructor(total: number) {
    this.#total = total;
  }

  /** By all owners together. */
  get taken(): number {
    return this.#taken;
  }

  /** Whether the owner may have one more, which then counts until it is given back. */
  tryTake(owner: string): boolean {
    const own = this.#held.get(owner) ?? 0;
    if (!decideConnection({ own, taken: this.#taken, total: this.#total })) return false; // H1
    this.#held.set(owner, own + 1);
    this.#taken += 1;
    return true;
  }

  giveBack(owner: string): void {
    const left = (this.#held.get(owner) ?? 1) - 1;
    if (left === 0) this.#held.delete(owner);
    else this.#held.set(owner, left);
    this.#taken -= 1;
  }
}
