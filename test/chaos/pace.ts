/**
 * Whether the machine keeps up: how late a timer fires. Bounds of time say something of Berth only on a machine that
 * runs all the processes when they are ready.
 */
import { systemClock } from "../../runtime/clock.ts";
import { percentile } from "./statistics.ts";

const EVERY_MS = 50;
/** A tenth of the second that a reminder may be late. */
const KEPT_MS = 100;

export class Pace {
  readonly #late: number[] = [];

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const before = systemClock.monotonic();
      await systemClock.sleep(EVERY_MS, signal);
      this.#late.push(Math.max(0, systemClock.monotonic() - before - EVERY_MS));
    }
  }

  /** The 99th of a hundred, in ms. */
  get lateMs(): number {
    return percentile(this.#late, 0.99) ?? 0;
  }

  get isKept(): boolean {
    return this.lateMs <= KEPT_MS;
  }
}
