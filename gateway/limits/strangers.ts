/**
 * Requests without a valid credential, counted per network address on this gateway.
 *
 * Past the limit nothing is looked up for them any more, so that guessing keys costs the broker nothing; a credential
 * that is known already still works from there, for an address may be that of many.
 */
import { BerthError } from "../../protocols/errors.ts";
import type { Clock } from "../../runtime/clock.ts";
import { networkOf } from "../../runtime/denials.ts";

const WINDOW_MS = 60_000;
/** Addresses that are told apart; those beyond share one count. */
const MAX_SOURCES = 10_000;
const REST = "rest";

export class Strangers {
  readonly #clock: Clock;
  readonly #limit: number;
  readonly #counts = new Map<string, number>();
  #until = 0;

  constructor(clock: Clock, limit: number) {
    this.#clock = clock;
    this.#limit = limit;
  }

  isOver(source: string): boolean {
    this.#roll();
    return (this.#counts.get(this.#nameOf(source)) ?? 0) >= this.#limit;
  }

  count(source: string): void {
    this.#roll();
    const name = this.#nameOf(source);
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
  }

  /** One that was counted has shown a credential after all. */
  forgive(source: string): void {
    const name = this.#nameOf(source);
    const count = this.#counts.get(name) ?? 0;
    if (count > 0) this.#counts.set(name, count - 1);
  }

  refusal(): BerthError {
    const retryAfterMs = Math.max(1, this.#until - this.#clock.monotonic());
    const message = "too many requests without a valid credential came from this address";
    return new BerthError("request.rate_limited", message, { retryAfterMs });
  }

  #nameOf(source: string): string {
    const network = networkOf(source);
    return this.#counts.has(network) || this.#counts.size < MAX_SOURCES ? network : REST;
  }

  #roll(): void {
    const now = this.#clock.monotonic();
    if (now < this.#until) return;
    this.#counts.clear();
    this.#until = now + WINDOW_MS;
  }
}
