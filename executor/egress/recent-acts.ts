/** Which acts were told a short while ago: who repeats one without end fills no log with it. */
import type { Clock } from "../../runtime/clock.ts";

const TOLD_AGAIN_AFTER_MS = 60_000;
/** Beyond them nothing is new until the oldest have had their time: who invents names fills no log either. */
const MOST_ACTS = 1_000;

export class RecentActs {
  readonly #clock: Clock;
  /** When each was told, the oldest first. */
  readonly #told = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  isNew(act: string): boolean {
    const now = this.#clock.monotonic();
    for (const [other, at] of this.#told) {
      if (now - at < TOLD_AGAIN_AFTER_MS) break;
      this.#told.delete(other);
    }
    if (this.#told.has(act) || this.#told.size >= MOST_ACTS) return false;
    this.#told.set(act, now);
    return true;
  }
}
