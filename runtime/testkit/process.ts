/**
 * A process as the operating system sees it: whatever wakes its code passes here, so that a test can stop it, let it
 * go on, or end it, between two of its callbacks.
 *
 * Invariants:
 * S1 A paused process runs nothing (SIGSTOP). When it goes on, timers that came due run first and then what the
 *    network brought, each in its order, before anything newer.
 * S2 An ended process never runs again (SIGKILL): its promises stay open for ever. What it had handed to the network
 *    is on its way all the same.
 */
import type { Clock } from "../clock.ts";
import { sleepBy } from "./manual-clock.ts";

export type ProcessState = "running" | "paused" | "ended";

export class TestProcess {
  readonly name: string;
  readonly #world: Clock;
  readonly #onEnd = new Set<() => void>();
  #state: ProcessState = "running";
  #timers: (() => void)[] = [];
  /** What the network brought, and after a pause all that is still to run (S1). */
  #backlog: (() => void)[] = [];
  #draining = false;

  /** `world` is the clock outside: it goes on when the process does not. */
  constructor(name: string, world: Clock) {
    this.name = name;
    this.#world = world;
  }

  get state(): ProcessState {
    return this.#state;
  }

  /** Runs a callback of the process: now, when it goes on, or never. */
  enter(callback: () => void): void {
    if (this.#state === "ended") return;
    if (this.#state === "paused" || this.#draining) this.#backlog.push(callback);
    else callback();
  }

  pause(): void {
    if (this.#state === "running") this.#state = "paused";
  }

  resume(): void {
    if (this.#state !== "paused") return;
    this.#state = "running";
    this.#backlog = [...this.#timers, ...this.#backlog];
    this.#timers = [];
    if (!this.#draining) this.#drain();
  }

  end(): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    this.#timers = [];
    this.#backlog = [];
    for (const fn of this.#onEnd) fn();
  }

  onEnd(fn: () => void): void {
    this.#onEnd.add(fn);
  }

  /** The clock as the process has it: its timers fire inside it. `skewMs` is how far its wall clock is off. */
  clock(skewMs = 0): Clock {
    const after = (ms: number, fn: () => void) => this.#after(ms, fn);
    return {
      now: () => this.#world.now() + skewMs,
      monotonic: () => this.#world.monotonic(),
      after,
      sleep: (ms, signal) => sleepBy((then) => after(ms, then), signal),
    };
  }

  #after(ms: number, fn: () => void): () => void {
    let isSet = true;
    const fire = () => {
      if (isSet) fn();
    };
    const cancel = this.#world.after(ms, () => {
      if (this.#state === "paused") this.#timers.push(fire);
      else this.enter(fire);
    });
    return () => {
      isSet = false;
      cancel();
    };
  }

  /** One callback at a time, with the promises that it settles. */
  #drain(): void {
    this.#draining = this.#backlog.length > 0;
    if (!this.#draining) return;
    this.#world.after(0, () => {
      if (this.#state !== "running") {
        this.#draining = false;
        return;
      }
      this.#backlog.shift()?.();
      this.#drain();
    });
  }
}
