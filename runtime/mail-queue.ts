import type { Mail } from "./transport.ts";

/** A single-reader queue: what a mail stream's source pushes and its owner iterates. */
export class MailQueue implements AsyncIterable<Mail> {
  readonly #items: Mail[] = [];
  #wake: (() => void) | undefined;
  #ended = false;
  #error: Error | undefined;

  push(mail: Mail): void {
    if (this.#ended) return;
    this.#items.push(mail);
    this.#wake?.();
  }

  /** Ends iteration after what was pushed. */
  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  /** Ends iteration with an error after what was pushed; the first reason given stays. */
  fail(error: Error): void {
    if (this.#ended) return;
    this.#error = error;
    this.end();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Mail> {
    for (;;) {
      const next = this.#items.shift();
      if (next) {
        yield next;
      } else if (this.#ended) {
        if (this.#error !== undefined) throw this.#error;
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
      }
    }
  }
}
