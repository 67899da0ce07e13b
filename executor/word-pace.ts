/** Keeps a worker that floods its host with hellos and beats from keeping the host busy: what comes too soon is not read. */

/** A worker says hello five times a second at most, and beats every other second. */
const SOONEST_MS = 50;
const REMEMBERED = 10_000;

export class WordPace {
  readonly #takenAt = new Map<string, number>();

  /** Whether it is time to read this worker again. */
  take(worker: string, now: number): boolean {
    if (now - (this.#takenAt.get(worker) ?? -SOONEST_MS) < SOONEST_MS) return false;
    this.#takenAt.delete(worker);
    this.#takenAt.set(worker, now);
    const [oldest] = this.#takenAt.keys();
    if (this.#takenAt.size > REMEMBERED && oldest !== undefined) this.#takenAt.delete(oldest);
    return true;
  }
}
