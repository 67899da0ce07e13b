/** How much CPU each worker uses, from two readings of what it has used since its start. */

export interface CpuReading {
  /** Milliseconds since the epoch, by the clock of whoever measured. */
  readonly at: number;
  readonly cpuMs: number;
}

/** A mean over longer says nothing about now. */
const STALE_MS = 60_000;
/** Workers that are remembered; the ones that were read longest ago go. */
const REMEMBERED = 10_000;

/** CPUs in use between two readings. Null when they tell nothing: none before, too old, or one that went back. Pure. */
export function decideRate(before: CpuReading | undefined, now: CpuReading): number | null {
  if (before === undefined) return null;
  const spanMs = now.at - before.at;
  const usedMs = now.cpuMs - before.cpuMs;
  if (spanMs <= 0 || spanMs > STALE_MS || usedMs < 0) return null;
  return Math.round((usedMs / spanMs) * 1_000) / 1_000;
}

export class CpuRates {
  readonly #last = new Map<
    string,
    { readonly reading: CpuReading; readonly rate: number | null }
  >();
  readonly #remembered: number;

  constructor(remembered = REMEMBERED) {
    this.#remembered = remembered;
  }

  /** Takes a new reading; its rate stands until the next. */
  note(worker: string, reading: CpuReading): void {
    const rate = decideRate(this.#last.get(worker)?.reading, reading);
    this.#last.delete(worker);
    this.#last.set(worker, { reading, rate });
    for (const oldest of this.#last.keys()) {
      if (this.#last.size <= this.#remembered) return;
      this.#last.delete(oldest);
    }
  }

  of(worker: string): number | null {
    return this.#last.get(worker)?.rate ?? null;
  }
}
