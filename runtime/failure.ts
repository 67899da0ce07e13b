/** The failures of one activation: what its supervision makes of the next one (R5). */
import { asBerthError, BerthError } from "../protocols/errors.ts";
import type { Item } from "./inbox.ts";
import {
  countsAsFailure,
  DEFAULT_SUPERVISION,
  decideSupervision,
  isNamedCause,
  type Supervision,
  type Verdict,
} from "./supervision.ts";

export class FailureLog {
  readonly #policy: Supervision;
  readonly #random: () => number;
  #failedAt: number[] = [];

  constructor(policy: Supervision = DEFAULT_SUPERVISION, random: () => number) {
    this.#policy = policy;
    this.#random = random;
  }

  get policy(): Supervision {
    return this.#policy;
  }

  /** Whether what an ask's handler threw is its answer and nothing more: an error that was chosen and not declared a cause. */
  isAnswer(item: Item, thrown: unknown): boolean {
    return (
      item.type === "ask" &&
      thrown instanceof BerthError &&
      thrown.code !== "actor.state_unreadable" &&
      !isNamedCause(this.#policy, thrown.code)
    );
  }

  /** Counts a failure and says what follows. */
  record(item: Item, thrown: unknown, now: number): Verdict {
    const { code, retryAfterMs } = asBerthError(thrown, "actor.failed");
    const verdict = decideSupervision(
      this.#policy,
      {
        code,
        // Only an error that was chosen says for certain that another try is in vain.
        retry: thrown instanceof BerthError ? thrown.retry : "later",
        retryAfterMs,
        lane: item.type === "mail" ? item.mail.lane : "ask",
        attempts: item.type === "mail" ? item.attempts + 1 : 1,
        failedAt: this.#failedAt,
        now,
      },
      this.#random(),
    );
    if (countsAsFailure(this.#policy, code)) {
      this.#failedAt.push(now);
      // Older ones than the intensity counts change nothing.
      if (this.#failedAt.length > this.#policy.intensity.failures) this.#failedAt.shift();
    }
    return verdict;
  }

  /** After a restart that was ordered: the actor begins with a clean sheet. */
  clear(): void {
    this.#failedAt = [];
  }
}
