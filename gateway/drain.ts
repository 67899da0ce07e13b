/** Draining: open streams are told and closed, and nothing new counts as ready. */
import type { Clock } from "../runtime/clock.ts";
import type { Metrics } from "../runtime/metrics.ts";

/** An open stream. `restart` tells the client to connect elsewhere and resolves when it is gone. */
export interface OpenStream {
  readonly transport: "sse" | "websocket";
  restart(): Promise<void>;
}

export class Drain {
  readonly #clock: Clock;
  readonly #metrics: Metrics;
  readonly #streams = new Set<OpenStream>();
  readonly #open = { sse: 0, websocket: 0 };
  #draining = false;

  constructor(clock: Clock, metrics: Metrics) {
    this.#clock = clock;
    this.#metrics = metrics;
  }

  get draining(): boolean {
    return this.#draining;
  }

  get streams(): number {
    return this.#streams.size;
  }

  /** The stream counts as open until the returned function is called. */
  add(stream: OpenStream): () => void {
    const { transport } = stream;
    this.#streams.add(stream);
    this.#metrics.count("berth_gateway_streams_total", { transport });
    this.#opened(transport, 1);
    if (this.#draining) void stream.restart();
    return () => {
      if (this.#streams.delete(stream)) this.#opened(transport, -1);
    };
  }

  #opened(transport: OpenStream["transport"], more: number): void {
    this.#open[transport] += more;
    this.#metrics.gauge("berth_gateway_streams", this.#open[transport], { transport });
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
