/** Ended workers that stay in sight, for whoever asks why. */
const REMEMBERED = 5;

/** Which workers were there and are not any more: the gateway lists only those that live. */
export class SeenWorkers {
  #live = [];
  #ended = [];

  /** Takes the live ones, as listed at `now`, and gives the last that went, newest first. */
  note(live, now = Date.now()) {
    const present = new Set(live.map(({ id }) => id));
    const gone = this.#live
      .filter(({ id }) => !present.has(id))
      .map((worker) => ({ ...worker, phase: "ended", step: null }));
    this.#ended = [...gone, ...this.#ended].slice(0, REMEMBERED);
    this.#live = live.map((worker) => ({ ...worker, seen_at: now }));
    return this.#ended;
  }
}
