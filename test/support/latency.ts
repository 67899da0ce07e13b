/** Latencies of one run, and the comparison of two: what is quiet and what is loaded. */
export class Latencies {
  readonly #ms: number[] = [];

  get count(): number {
    return this.#ms.length;
  }

  async measure<T>(work: () => Promise<T>): Promise<T> {
    const startedAt = performance.now();
    const value = await work();
    this.#ms.push(performance.now() - startedAt);
    return value;
  }

  /** In milliseconds; `share` is 0.5 for the median. */
  quantile(share: number): number {
    const sorted = this.#ms.toSorted((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
  }

  get summary(): string {
    const [p50, p99, max] = [0.5, 0.99, 1].map((share) => this.quantile(share).toFixed(1));
    return `n ${this.count}, p50 ${p50} ms, p99 ${p99} ms, max ${max} ms`;
  }
}
