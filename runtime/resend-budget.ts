/**
 * How many of its asks a client may send again (R7). Without a bound, a crowd of asks to an actor that is slow for a
 * moment is sent again and again, and those sendings are what its answers then wait behind: nothing gets done any more.
 *
 * A token bucket after gRPC's retry throttling (proposal A6): an answer gives a tenth of what a sending takes. What comes
 * back with time lets a client go on whose asks were all lost.
 */
import type { Clock } from "./clock.ts";

/** What a sending costs, so that an answer gives whole tokens. */
const COST = 10;
const TOKENS_PER_ANSWER = 1;
/** A crowd of that size goes out again at once, as after a connection that broke. */
const CAPACITY = 500 * COST;
const TOKENS_PER_SECOND = 100 * COST;

export class ResendBudget {
  readonly #clock: Clock;
  #tokens = CAPACITY;
  #filledAt: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#filledAt = clock.monotonic();
  }

  answered(): void {
    this.#add(TOKENS_PER_ANSWER);
  }

  /** False when there is too little left for a sending. */
  take(): boolean {
    const now = this.#clock.monotonic();
    this.#add(((now - this.#filledAt) / 1_000) * TOKENS_PER_SECOND);
    this.#filledAt = now;
    if (this.#tokens < COST) return false;
    this.#tokens -= COST;
    return true;
  }

  #add(tokens: number): void {
    this.#tokens = Math.min(CAPACITY, this.#tokens + tokens);
  }
}
