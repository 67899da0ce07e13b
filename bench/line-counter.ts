/** Takes what a WebSocket client is sent, until all lines of a measurement have come. */
import { preciseNow, writtenAt } from "./lines.ts";
import { within } from "./load.ts";
import type { Sample } from "./scenario.ts";

export class LineCounter {
  readonly #expected: number;
  readonly #latenciesMs: number[] = [];
  #first: { readonly at: number; readonly lines: number } | undefined;
  #lastAt = 0;
  #settle: { readonly done: () => void; readonly failed: (error: Error) => void } | undefined;
  readonly #all: Promise<void>;

  constructor(expected: number) {
    this.#expected = expected;
    this.#all = new Promise((done, failed) => {
      this.#settle = { done, failed };
    });
    this.#all.catch(() => {});
  }

  /** One message's lines. */
  take(lines: readonly string[]): void {
    const now = preciseNow();
    this.#first ??= { at: now, lines: lines.length };
    this.#lastAt = now;
    for (const line of lines) this.#latenciesMs.push(now - writtenAt(line));
    if (this.#latenciesMs.length >= this.#expected) this.#settle?.done();
  }

  fail(reason: string): void {
    this.#settle?.failed(new Error(`${reason}, after ${this.#latenciesMs.length} lines`));
  }

  /** The rate is that of the lines behind the first message, so that a job's start is not in it. */
  async sample(timeoutMs: number): Promise<Sample> {
    await within(timeoutMs, `the delivery of ${this.#expected} lines`, this.#all);
    const latenciesMs = this.#latenciesMs;
    const { at, lines } = this.#first ?? { at: 0, lines: 0 };
    const count = latenciesMs.length;
    if (count !== this.#expected) throw new Error(`${count} lines came, not ${this.#expected}`);
    return { count: count - lines, elapsedMs: this.#lastAt - at, latenciesMs };
  }
}
