import type { Mail } from "./transport.ts";

interface Queued {
  readonly mail: Mail;
  readonly taken: (() => void) | undefined;
}

/** A single-reader queue: what a mail stream's sources push and its owner iterates. */
export class MailQueue implements AsyncIterable<Mail> {
  #items: Queued[] = [];
  #wake: (() => void) | undefined;
  #ended = false;
  #error: Error | undefined;

  /** `taken` is called when the reader takes it: there is room for more. */
  push(mail: Mail, taken?: () => void): void {
    if (this.#ended) return;
    this.#items.push({ mail, taken });
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
      const items = this.#items;
      this.#items = [];
      for (const { mail, taken } of items) {
        taken?.();
        yield mail;
      }
      if (this.#items.length > 0) continue;
      if (this.#ended) {
        if (this.#error !== undefined) throw this.#error;
        return;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }
}
