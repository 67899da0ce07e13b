/** A clock that stands still until it is moved. */
import type { Clock } from "../clock.ts";
import { TimerQueue } from "./timer-queue.ts";

export class ManualClock implements Clock {
  readonly #start: number;
  readonly #timers = new TimerQueue();
  #elapsed = 0;

  /** `start` is what `now` says at first (default: the start of 2026). */
  constructor(start = Date.UTC(2026, 0, 1)) {
    this.#start = start;
  }

  now(): number {
    return this.#start + this.#elapsed;
  }

  monotonic(): number {
    return this.#elapsed;
  }

  after(ms: number, fn: () => void): () => void {
    return this.#timers.add(this.#elapsed + Math.max(0, ms), fn);
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return sleepBy((then) => this.after(ms, then), signal);
  }

  /** Timers that have not fired: a test asserts that nothing is left. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Moves time, firing due timers in order and letting the promises they settle run before the next. */
  async advance(ms: number): Promise<void> {
    const end = this.#elapsed + ms;
    while (await this.step(end));
    this.#elapsed = end;
    await settle();
  }

  /** Moves to the next timer and fires it, if it is due at `until` (on the monotonic clock) or before. */
  async step(until = Number.POSITIVE_INFINITY): Promise<boolean> {
    const next = this.#timers.take(until);
    if (next === undefined) return false;
    this.#elapsed = next.at;
    next.fn();
    await settle();
    return true;
  }
}

/** A sleep made of a timer: ends at once when `signal` aborts, and then forgets its timer. */
export function sleepBy(
  set: (then: () => void) => () => void,
  signal?: AbortSignal,
): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      cancel();
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const cancel = set(done);
    signal?.addEventListener("abort", done, { once: true });
  });
}

/** Lets every promise that is ready run, and those that they make ready. */
function settle(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
