/**
 * The way out to one client, with a bound. Whoever writes asks `ready` first; a client that keeps us
 * above the mark for too long is cut (R7).
 */
import type { Clock } from "../../runtime/clock.ts";

/** The part of a socket that an outlet needs; `net.Socket` has it. */
export interface Pipe {
  cork(): void;
  uncork(): void;
  on(event: "drain", fn: () => void): unknown;
  off(event: "drain", fn: () => void): unknown;
  readonly writableLength: number;
}

/** Whether a client above the mark made so little progress that it is cut. Pure. */
export function decideSlow(before: number, now: number, highWater: number): boolean {
  return now >= highWater && now > before / 2;
}

export class Outlet {
  readonly #pipe: Pipe;
  readonly #clock: Clock;
  readonly #options: OutletOptions;
  #corked = false;
  #stopTimer: (() => void) | undefined;
  #closed = false;

  constructor(pipe: Pipe, clock: Clock, options: OutletOptions) {
    this.#pipe = pipe;
    this.#clock = clock;
    this.#options = options;
    pipe.on("drain", this.#drained);
  }

  get ready(): boolean {
    return !this.#closed && this.#pipe.writableLength < this.#options.highWaterBytes;
  }

  /** Runs `write`; what is written in one round of the event loop leaves in one system call. */
  send(write: () => void): void {
    if (this.#closed) return;
    if (!this.#corked) {
      this.#corked = true;
      this.#pipe.cork();
      setImmediate(() => {
        this.#corked = false;
        this.#pipe.uncork();
      });
    }
    write();
    if (!this.ready) this.#watch(this.#pipe.writableLength);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stopTimer?.();
    this.#pipe.off("drain", this.#drained);
  }

  readonly #drained = () => {
    this.#stopTimer?.();
    this.#stopTimer = undefined;
    if (!this.#closed) this.#options.onReady();
  };

  #watch(before: number): void {
    if (this.#stopTimer) return;
    this.#stopTimer = this.#clock.after(this.#options.slowReaderMs, () => {
      this.#stopTimer = undefined;
      const now = this.#pipe.writableLength;
      if (decideSlow(before, now, this.#options.highWaterBytes)) this.#options.onSlow();
      else if (now > 0) this.#watch(now);
    });
  }
}

interface OutletOptions {
  readonly highWaterBytes: number;
  readonly slowReaderMs: number;
  /** The client has taken what was written. */
  readonly onReady: () => void;
  readonly onSlow: () => void;
}
