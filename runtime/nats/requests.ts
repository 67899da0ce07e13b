/** Requests with one answer each, through one inbox. Costs a fraction of the client's own, which makes an error of every request. */
import { createInbox, type Msg, type MsgHdrs, type NatsConnection } from "@nats-io/transport-node";
import { BerthError } from "../../protocols/errors.ts";
import type { Clock } from "../clock.ts";
import type { Late } from "../transport.ts";
import { fromNats } from "./errors.ts";
import type { QuorumWatch } from "./quorum-watch.ts";
import type { Sender } from "./sender.ts";

interface Waiting {
  readonly resolve: (data: Uint8Array) => void;
  readonly reject: (error: BerthError) => void;
  cancelTimer: () => void;
  /** Whether its answer is lost when the connection breaks. */
  readonly isBound: boolean;
}

export interface RequestOptions {
  readonly timeoutMs: number;
  readonly headers?: MsgHdrs | undefined;
  /** The answer comes at once or never: rejects with `broker.unavailable` when the connection breaks. */
  readonly isBound: boolean;
  readonly late?: Late | undefined;
}

const NO_RESPONDERS = 503;

export class Requests {
  readonly #clock: Clock;
  readonly #sender: Sender;
  readonly #quorum: QuorumWatch;
  readonly #inbox = `${createInbox()}.`;
  readonly #waiting = new Map<string, Waiting>();
  #count = 0;

  constructor(parts: {
    readonly connection: NatsConnection;
    readonly sender: Sender;
    readonly clock: Clock;
    readonly quorum: QuorumWatch;
  }) {
    this.#clock = parts.clock;
    this.#sender = parts.sender;
    this.#quorum = parts.quorum;
    parts.connection.subscribe(`${this.#inbox}*`, {
      callback: (error, message) => {
        if (!error) this.#onAnswer(message);
      },
    });
  }

  /** Rejects with `actor.moved` when nobody listens, `ask.timeout`, or what kept it from being sent. */
  request(subject: string, data: Uint8Array, options: RequestOptions): Promise<Uint8Array> {
    this.#count += 1;
    const token = String(this.#count);
    return new Promise((resolve, reject) => {
      const cancelTimer = this.#timer(token, options);
      this.#waiting.set(token, { resolve, reject, cancelTimer, isBound: options.isBound });
      this.#sender.send({
        subject,
        data,
        options: {
          reply: this.#inbox + token,
          ...(options.headers ? { headers: options.headers } : {}),
        },
        failed: (thrown) => this.#fail(token, fromNats(thrown)),
      });
    });
  }

  #timer(token: string, { late, timeoutMs }: RequestOptions): () => void {
    const giveUp = () =>
      this.#fail(token, new BerthError("ask.timeout", "No answer came before the deadline"));
    if (!late) return this.#clock.after(Math.ceil(timeoutMs), giveUp);
    return this.#clock.after(Math.ceil(timeoutMs - late.beforeMs), () => {
      const waiting = this.#waiting.get(token);
      if (!waiting) return;
      waiting.cancelTimer = this.#clock.after(Math.ceil(late.beforeMs), giveUp);
      late.fn();
    });
  }

  /** The connection broke. */
  disconnected(): void {
    for (const [token, { isBound }] of this.#waiting) {
      if (isBound) this.#fail(token, new BerthError("broker.unavailable", "the connection broke"));
    }
  }

  #take(token: string): Waiting | undefined {
    const waiting = this.#waiting.get(token);
    this.#waiting.delete(token);
    waiting?.cancelTimer();
    return waiting;
  }

  #fail(token: string, error: BerthError): void {
    this.#take(token)?.reject(error);
  }

  #onAnswer(message: Msg): void {
    const waiting = this.#take(message.subject.slice(this.#inbox.length));
    if (!waiting) return;
    if (message.data.length === 0 && message.headers?.code === NO_RESPONDERS) {
      waiting.reject(new BerthError("actor.moved", "No node serves the actor at this moment"));
      if (!waiting.isBound) this.#quorum.unanswered("ask");
    } else {
      waiting.resolve(message.data);
      if (!waiting.isBound) this.#quorum.answered("ask");
    }
  }
}
