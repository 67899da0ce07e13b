/** Which acts were told a short while ago: who repeats one without end fills no log with it, and who invents others neither. */
import type { Clock } from "../../runtime/clock.ts";

const WINDOW_MS = 60_000;
/** Of one worker, and of how many workers, within the window. */
const MOST_ACTS = 16;
const MOST_WORKERS = 1_000;

interface Window {
  readonly since: number;
  readonly acts: Set<string>;
}

export class RecentActs {
  readonly #clock: Clock;
  /** The one that began first is the first. */
  readonly #windows = new Map<string, Window>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** True once a minute for an act of a worker, while it has no more than a few. */
  isNew(worker: string, act: string): boolean {
    const acts = this.#window(worker)?.acts;
    if (acts === undefined || acts.has(act) || acts.size >= MOST_ACTS) return false;
    acts.add(act);
    return true;
  }

  #window(worker: string): Window | undefined {
    const now = this.#clock.monotonic();
    for (const [other, { since }] of this.#windows) {
      if (now - since < WINDOW_MS) break;
      this.#windows.delete(other);
    }
    const held = this.#windows.get(worker);
    if (held !== undefined || this.#windows.size >= MOST_WORKERS) return held;
    const made: Window = { since: now, acts: new Set() };
    this.#windows.set(worker, made);
    return made;
  }
}
