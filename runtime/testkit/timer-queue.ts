/** Timers ordered by time, those of one time by the order they were set: a binary heap. */
export interface Timer {
  readonly at: number;
  readonly order: number;
  readonly fn: () => void;
  cancelled: boolean;
}

const isSooner = (a: Timer, b: Timer) => a.at < b.at || (a.at === b.at && a.order < b.order);

export class TimerQueue {
  readonly #heap: Timer[] = [];
  #order = 0;
  #live = 0;

  /** Timers that are neither fired nor cancelled. */
  get size(): number {
    return this.#live;
  }

  add(at: number, fn: () => void): () => void {
    this.#order += 1;
    const timer: Timer = { at, order: this.#order, fn, cancelled: false };
    this.#live += 1;
    this.#heap.push(timer);
    this.#rise(this.#heap.length - 1);
    return () => {
      if (timer.cancelled) return;
      timer.cancelled = true;
      this.#live -= 1;
    };
  }

  /** Takes the soonest out if it is due at `until` or before. Cancelling it then does nothing. */
  take(until: number): Timer | undefined {
    for (let first = this.#heap[0]; first; first = this.#heap[0]) {
      if (!first.cancelled && first.at > until) return undefined;
      this.#removeFirst();
      if (first.cancelled) continue;
      first.cancelled = true;
      this.#live -= 1;
      return first;
    }
    return undefined;
  }

  #removeFirst(): void {
    const last = this.#heap.pop();
    if (!last || this.#heap.length === 0) return;
    this.#heap[0] = last;
    this.#sink();
  }

  #rise(from: number): void {
    let at = from;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (!this.#swapIfSooner(at, above)) return;
      at = above;
    }
  }

  #sink(): void {
    let at = 0;
    for (;;) {
      const [left, right] = [2 * at + 1, 2 * at + 2];
      const [a, b] = [this.#heap[left], this.#heap[right]];
      if (!a) return;
      const sooner = b && isSooner(b, a) ? right : left;
      if (!this.#swapIfSooner(sooner, at)) return;
      at = sooner;
    }
  }

  /** Swaps the timer at `below` with the one above it if it is the sooner one. */
  #swapIfSooner(below: number, above: number): boolean {
    const [low, high] = [this.#heap[below], this.#heap[above]];
    if (!low || !high || !isSooner(low, high)) return false;
    this.#heap[above] = low;
    this.#heap[below] = high;
    return true;
  }
}
