/**
 * Who holds how many of a bounded number of connections.
 *
 * Invariant:
 * H1 An owner takes no more than it leaves to all others: one alone gets half of all, and whoever comes next half of the rest.
 */
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
    if (own >= this.#total - this.#taken) return false; // H1
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
