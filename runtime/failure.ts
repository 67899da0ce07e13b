/** The failures of one activation: what its supervision makes of the next one, and whether it is stopped (R5). */
import { BerthError } from "../protocols/errors.ts";
import type { Item } from "./inbox.ts";
import {
  DEFAULT_SUPERVISION,
  decideSupervision,
  type Supervision,
  type Verdict,
} from "./supervision.ts";

export class FailureLog {
  readonly #policy: Supervision;
  readonly #random: () => number;
  readonly #failedAt: number[] = [];
  #stoppedUntil = 0;

  constructor(policy: Supervision = DEFAULT_SUPERVISION, random: () => number) {
    this.#policy = policy;
    this.#random = random;
  }

  /** When a stop ends (ms since the epoch); 0 when there was none. */
  get stoppedUntil(): number {
    return this.#stoppedUntil;
  }

  isStopped(now: number): boolean {
    return this.#stoppedUntil > now;
  }

  /** Counts a failure and says what follows. An ask is never tried again here; its caller may do so. */
  record(item: Item, thrown: unknown, now: number): Verdict {
    const attempts = item.type === "mail" ? item.attempts + 1 : this.#policy.maxAttempts;
    // Only an error that was chosen says for certain that another try is in vain.
    const retry = thrown instanceof BerthError ? thrown.retry : "later";
    const failure = { attempts, retry, failedAt: this.#failedAt, now };
    const verdict = decideSupervision(this.#policy, failure, this.#random());
    this.#failedAt.push(now);
    // Older ones than the intensity counts change nothing.
    if (this.#failedAt.length > this.#policy.intensity.failures) this.#failedAt.shift();
    if (verdict.action === "dead-letter-and-stop") this.#stoppedUntil = now + verdict.forMs;
    return verdict;
  }
}
