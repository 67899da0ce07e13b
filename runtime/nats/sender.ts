/**
 * What leaves this process, gathered. The client writes to its socket at every microtask that has something to
 * send, and a write costs more than all else that a turn does; so what comes up in one pass of the event loop
 * leaves in one write at its end, in the order given.
 */
import type { NatsConnection, PublishOptions } from "@nats-io/transport-node";
import { BerthError } from "../../protocols/errors.ts";

export interface Outgoing {
  readonly subject: string;
  readonly data: Uint8Array;
  readonly options?: PublishOptions | undefined;
  /** It was not sent: the connection is away or closed, or the data is larger than the server takes. */
  readonly failed: (thrown: unknown) => void;
}

export class Sender {
  readonly #connection: NatsConnection;
  #queue: Outgoing[] = [];
  #isConnected = true;

  constructor(connection: NatsConnection) {
    this.#connection = connection;
  }

  send(outgoing: Outgoing): void {
    this.#queue.push(outgoing);
    if (this.#queue.length === 1) setImmediate(() => this.flush());
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  /**
   * The connection broke: from now on nothing is sent and everything is told so, for the client library would take it
   * and drop it at its next try to connect. What was not sent may be sent again by whoever asked (C1).
   */
  disconnected(): void {
    this.#isConnected = false;
  }

  reconnected(): void {
    this.#isConnected = true;
  }

  /** Hands everything to the client now: before the connection closes. */
  flush(): void {
    const queue = this.#queue;
    this.#queue = [];
    for (const { subject, data, options, failed } of queue) {
      try {
        if (!this.#isConnected) throw new BerthError("actor.moved", "The broker is away");
        this.#connection.publish(subject, data, options);
      } catch (thrown) {
        failed(thrown);
      }
    }
  }
}
