/** Requests with one answer each, through one inbox. Costs a fraction of the client's own, which makes an error of every request. */
import { createInbox, type Msg, type MsgHdrs, type NatsConnection } from "@nats-io/transport-node";
import { BerthError } from "../../protocols/errors.ts";
import type { Clock } from "../clock.ts";
import { startRequestTimer } from "../request-timer.ts";
import type { Again, Late } from "../transport.ts";
import { fromNats } from "./errors.ts";
import type { QuorumWatch } from "./quorum-watch.ts";
import type { Sender } from "./sender.ts";

interface Waiting {
  readonly resolve: (data: Uint8Array) => void;
  readonly reject: (error: BerthError) => void;
  readonly cancelTimer: () => void;
  /** It was sent more than once: that nobody hears one of them says nothing of the others. */
  isAgain: boolean;
  /** Whether its answer is lost when the connection breaks. */
  readonly isBound: boolean;
}

export interface RequestOptions {
  readonly timeoutMs: number;
  readonly headers?: MsgHdrs | undefined;
  /** The answer comes at once or never: rejects with `broker.unavailable` when the connection breaks. */
  readonly isBound: boolean;
  readonly late?: Late | undefined;
  readonly again?: Again | undefined;
}

interface Sent {
  readonly subject: string;
  readonly data: Uint8Array;
  readonly options: RequestOptions;
}

const NO_RESPONDERS = 503;

export class Requests {
  readonly #clock: Clock;
  readonly #sender: Sender;
  readonly #quorum: QuorumWatch;
  readonly #inbox: string;
  readonly #waiting = new Map<string, Waiting>();
  #count = 0;

  constructor(parts: {
    readonly connection: NatsConnection;
    readonly sender: Sender;
    readonly clock: Clock;
    readonly quorum: QuorumWatch;
    readonly inboxPrefix: string;
  }) {
    this.#inbox = `${createInbox(parts.inboxPrefix)}.`;
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
      const sent = { subject, data, options };
      const cancelTimer = this.#timer(token, sent);
      const { isBound } = options;
      this.#waiting.set(token, { resolve, reject, cancelTimer, isBound, isAgain: false });
      this.#send(token, sent);
    });
  }

  #timer(token: string, { subject, options }: Sent): () => void {
    return startRequestTimer(this.#clock, {
      ...options,
      resend: (data) => {
        const waiting = this.#waiting.get(token);
        if (waiting) waiting.isAgain = true;
        this.#send(token, { subject, data, options });
      },
      giveUp: () =>
        this.#fail(token, new BerthError("ask.timeout", "No answer came before the deadline")),
    });
  }

  #send(token: string, { subject, data, options: { headers } }: Sent): void {
    this.#sender.send({
      subject,
      data,
      options: { reply: this.#inbox + token, ...(headers ? { headers } : {}) },
      failed: (thrown) => this.#fail(token, fromNats(thrown)),
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
    const token = message.subject.slice(this.#inbox.length);
    const isUnheard = message.data.length === 0 && message.headers?.code === NO_RESPONDERS;
    if (isUnheard && this.#waiting.get(token)?.isAgain) return;
    const waiting = this.#take(token);
    if (!waiting) return;
    if (isUnheard) {
      waiting.reject(new BerthError("actor.moved", "No node serves the actor at this moment"));
      if (!waiting.isBound) this.#quorum.unanswered("ask");
    } else {
      waiting.resolve(message.data);
      if (!waiting.isBound) this.#quorum.answered("ask");
    }
  }
}
