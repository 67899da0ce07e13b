/** Draining: open streams are told and closed, and nothing new counts as ready. */
import type { Clock } from "../runtime/clock.ts";

/** An open stream. `restart` tells the client to connect elsewhere and resolves when it is gone. */
export interface OpenStream {
  restart(): Promise<void>;
}

export class Drain {
  readonly #clock: Clock;
  readonly #streams = new Set<OpenStream>();
  #draining = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get draining(): boolean {
    return this.#draining;
  }

  get streams(): number {
    return this.#streams.size;
  }

  add(stream: OpenStream): () => void {
    this.#streams.add(stream);
    if (this.#draining) void stream.restart();
    return () => this.#streams.delete(stream);
  }

  /** Resolves when every stream is gone, or after `boundMs`. */
  async begin(boundMs: number): Promise<void> {
    this.#draining = true;
    const ending = Promise.allSettled([...this.#streams].map((stream) => stream.restart()));
    const bound = new AbortController();
    await Promise.race([ending, this.#clock.sleep(boundMs, bound.signal)]);
    bound.abort();
  }
}
