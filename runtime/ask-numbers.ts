/**
 * The numbers that one client gives its asks: one by one for each actor, so that an actor remembers those it has
 * handled as a few ranges.
 */

export interface Numbered {
  readonly n: number;
  /** Every ask to that actor up to this number is over. */
  readonly settled: number;
  /** No other one is open there. */
  readonly isAlone: boolean;
}

/** Actors whose last number is remembered. */
const REMEMBERED = 10_000;

export class AskNumbers {
  /** By actor, its open asks, ascending. */
  readonly #open = new Map<string, Set<number>>();
  /** By actor, the last number given, the longest unused first. */
  readonly #last = new Map<string, number>();
  /** How many were given in all. No actor's number is above it by more than one, so one forgotten begins there. */
  #given = 0;

  begin(actor: string): Numbered {
    this.#given += 1;
    const n = (this.#last.get(actor) ?? this.#given) + 1;
    this.#last.delete(actor);
    this.#last.set(actor, n);
    if (this.#last.size > REMEMBERED) this.#forgetOldest();
    const open = this.#open.get(actor) ?? new Set();
    const [lowest = n] = open;
    this.#open.set(actor, open.add(n));
    return { n, settled: lowest - 1, isAlone: open.size === 1 };
  }

  end(actor: string, n: number): void {
    const open = this.#open.get(actor);
    open?.delete(n);
    if (open?.size === 0) this.#open.delete(actor);
  }

  #forgetOldest(): void {
    const oldest = this.#last.keys().next();
    if (!oldest.done) this.#last.delete(oldest.value);
  }
}
