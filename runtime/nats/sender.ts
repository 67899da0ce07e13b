/**
 * What leaves this process, gathered. The client writes to its socket at every microtask that has something to
 * send, and a write costs more than all else that a turn does; so what comes up in one pass of the event loop
 * leaves in one write at its end, in the order given.
 */
import type { NatsConnection, PublishOptions } from "@nats-io/transport-node";

export interface Outgoing {
  readonly subject: string;
  readonly data: Uint8Array;
  readonly options?: PublishOptions | undefined;
  /** The connection is closed, or the data is larger than the server takes. */
  readonly failed: (thrown: unknown) => void;
}

export class Sender {
  readonly #connection: NatsConnection;
  #queue: Outgoing[] = [];

  constructor(connection: NatsConnection) {
    this.#connection = connection;
  }

  send(outgoing: Outgoing): void {
    this.#queue.push(outgoing);
    if (this.#queue.length === 1) setImmediate(() => this.flush());
  }

  /** Hands everything to the client now: before the connection closes. */
  flush(): void {
    const queue = this.#queue;
    this.#queue = [];
    for (const { subject, data, options, failed } of queue) {
      try {
        this.#connection.publish(subject, data, options);
      } catch (thrown) {
        failed(thrown);
      }
    }
  }
}
