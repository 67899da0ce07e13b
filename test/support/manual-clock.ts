/** A clock that stands still until a test advances it. */
import type { Clock } from "../../runtime/clock.ts";

interface Timer {
  readonly at: number;
  readonly nth: number;
  readonly fn: () => void;
}

/** Turns of the event loop given to continuations after each timer: enough for chains of awaits without I/O. */
const SETTLE_TURNS = 4;

export class ManualClock implements Clock {
  #now: number;
  #elapsed = 0;
  #nth = 0;
  readonly #timers = new Set<Timer>();

  constructor(startMs = 1_700_000_000_000) {
    this.#now = startMs;
  }

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#elapsed;
  }

  after(ms: number, fn: () => void): () => void {
    const timer = { at: this.#elapsed + Math.max(0, ms), nth: this.#nth, fn };
    this.#nth += 1;
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        cancel();
        signal?.removeEventListener("abort", done);
        resolve();
      };
      const cancel = this.after(ms, done);
      signal?.addEventListener("abort", done, { once: true });
    });
  }

  /** Timers that wait, sleeps included. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Moves time on, running what falls due in its order, timers set on the way included. */
  async advance(ms: number): Promise<void> {
    const target = this.#elapsed + ms;
    await settle();
    for (let next = this.#dueBy(target); next; next = this.#dueBy(target)) {
      this.#timers.delete(next);
      this.#moveTo(Math.max(this.#elapsed, next.at));
      next.fn();
      await settle();
    }
    this.#moveTo(target);
    await settle();
  }

  /** The wall clock alone, as when a machine's time is set: no timer fires. */
  setWall(ms: number): void {
    this.#now = ms;
  }

  #moveTo(elapsed: number): void {
    this.#now += elapsed - this.#elapsed;
    this.#elapsed = elapsed;
  }

  #dueBy(target: number): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.at > target) continue;
      if (!first || timer.at < first.at || (timer.at === first.at && timer.nth < first.nth)) {
        first = timer;
      }
    }
    return first;
  }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < SETTLE_TURNS; turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}
