/**
 * Answers to questions that many callers ask at once: pages that poll, each of them every second. Invariants:
 * S1 one question for a key is under way at a time; whoever asks meanwhile gets its answer.
 * S2 an answer, or its failure, is everybody's for `freshMs` from when it was asked for.
 * S3 what nobody asks for any more is forgotten: no more keys are held than were asked for within `freshMs`.
 */
import type { Clock } from "../runtime/clock.ts";

interface Asked<V> {
  readonly at: number;
  readonly answer: Promise<V>;
  isOpen: boolean;
}

export class SharedAnswers<V> {
  readonly #clock: Clock;
  readonly #freshMs: number;
  readonly #ask: (key: string) => Promise<V>;
  /** In the order asked (S3). */
  readonly #asked = new Map<string, Asked<V>>();

  constructor(options: {
    readonly clock: Clock;
    readonly freshMs: number;
    readonly ask: (key: string) => Promise<V>;
  }) {
    this.#clock = options.clock;
    this.#freshMs = options.freshMs;
    this.#ask = options.ask;
  }

  get(key: string): Promise<V> {
    this.#forget();
    const known = this.#asked.get(key);
    if (known) return known.answer; // S1, S2
    const asked: Asked<V> = {
      at: this.#clock.monotonic(),
      answer: this.#ask(key).finally(() => {
        asked.isOpen = false;
      }),
      isOpen: true,
    };
    // Callers handle it; one that came later must not find it unhandled.
    asked.answer.catch(() => {});
    this.#asked.set(key, asked);
    return asked.answer;
  }

  get size(): number {
    return this.#asked.size;
  }

  #forget(): void {
    const now = this.#clock.monotonic();
    for (const [key, { at, isOpen }] of this.#asked) {
      if (now - at < this.#freshMs) return;
      if (!isOpen) this.#asked.delete(key);
    }
  }
}
