/**
 * What one durable consumer delivers, pulled as room is made for it. The client's own `consume` asks for more as
 * messages arrive and not as they are handled, so a backlog would land in this process's memory as fast as a
 * socket carries it.
 *
 * Invariants:
 * C1 One pull is open at a time. It asks for no more than there is room for (R7).
 * C2 No delivery is skipped: consumers number their deliveries, and a missing number (a delivery lost on a broken
 *    connection or route) ends the source before anything behind the hole is handed out. Heartbeats name the last
 *    number, so the loss of the very last delivery is seen, too.
 * C3 It ends when for a bounded time nothing shows that the consumer serves it. A refusal shows nothing: a consumer may go
 *    without its pulls being told (its leader was cut off, or dead), and then every pull is refused, for ever.
 */
import {
  createInbox,
  type Msg,
  type MsgHdrs,
  type NatsConnection,
  type Subscription,
} from "@nats-io/transport-node";
import { BerthError } from "../../protocols/errors.ts";
import type { Clock } from "../clock.ts";
import { fromNats } from "./errors.ts";

export interface PullSourceParts {
  readonly connection: NatsConnection;
  readonly clock: Clock;
  readonly stream: string;
  readonly consumer: string;
  readonly onMessage: (message: Msg, delivery: Delivery) => void;
  /** Called once: `lease.lost` when the consumer was deleted, `broker.unavailable` otherwise. */
  readonly onEnd: (error: BerthError) => void;
}

export interface Delivery {
  /** Of the stream. */
  readonly seq: number;
  /** Of the consumer: 1, 2, 3 ... whatever is delivered. */
  readonly number: number;
  readonly storedAt: number;
}

/** Messages asked for and not yet taken. What is ahead of an ask in the socket is at most this. */
const WINDOW = 256;
/** At least; never less than two messages of the largest size. */
const WINDOW_BYTES = 4 * 1024 ** 2;
const EXPIRES_MS = 30_000;
const HEARTBEAT_MS = 2_000;
/** A pull that is silent for so long is lost, as when the consumer's leader died. Asked again so many times. */
const SILENCE_MS = 5_000;
const MAX_SILENCES = 2;
const AGAIN_MS = 250;
const NS_PER_MS = 1_000_000;

const HEARTBEAT = 100;
const TIMED_OUT = 408;

export class PullSource {
  readonly #parts: PullSourceParts;
  readonly #inbox = `${createInbox()}.`;
  readonly #subscription: Subscription;
  #pull = 0;
  /** What the open pull may still deliver; 0 when none is open. */
  #left = 0;
  #untaken = 0;
  #received = 0;
  #silences = 0;
  #isHeard = false;
  #isEnded = false;
  #cancelTimer: () => void = () => {};

  constructor(parts: PullSourceParts) {
    this.#parts = parts;
    this.#subscription = parts.connection.subscribe(`${this.#inbox}*`, {
      callback: (error, message) => {
        if (error) this.#end(fromNats(error));
        else this.#onArrival(message);
      },
    });
    const closed = () => this.#end(new BerthError("broker.unavailable", "the connection closed"));
    this.#subscription.closed.then(closed, closed);
    this.#watch();
    this.#next();
  }

  /** A message was taken by its reader: there is room for another. */
  taken(): void {
    this.#untaken -= 1;
    this.#next();
  }

  close(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#cancelTimer();
    this.#subscription.unsubscribe();
  }

  #end(error: BerthError): void {
    if (this.#isEnded) return;
    this.close();
    this.#parts.onEnd(error);
  }

  /** C1. */
  #next(): void {
    if (this.#isEnded || this.#left > 0 || this.#untaken > WINDOW / 2) return;
    const { connection, consumer, stream } = this.#parts;
    this.#pull += 1;
    this.#left = WINDOW - this.#untaken;
    const request = {
      batch: this.#left,
      max_bytes: Math.max(WINDOW_BYTES, 2 * (connection.info?.max_payload ?? 0)),
      expires: EXPIRES_MS * NS_PER_MS,
      idle_heartbeat: HEARTBEAT_MS * NS_PER_MS,
    };
    try {
      const reply = this.#inbox + String(this.#pull);
      const subject = `$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`;
      connection.publish(subject, JSON.stringify(request), { reply });
    } catch (thrown) {
      this.#end(fromNats(thrown));
    }
  }

  #onArrival(message: Msg): void {
    if (message.subject.startsWith(this.#inbox)) this.#onStatus(message);
    else this.#onDelivery(message);
  }

  #heard(): void {
    this.#isHeard = true;
    this.#silences = 0;
  }

  #onDelivery(message: Msg): void {
    this.#heard();
    const delivery = deliveryOf(message.reply);
    if (delivery?.number !== this.#received + 1) {
      this.#lost();
      return;
    }
    this.#received += 1;
    this.#untaken += 1;
    this.#left = Math.max(0, this.#left - 1);
    this.#parts.onMessage(message, delivery);
    this.#next();
  }

  /** C2. */
  #lost(): void {
    const { consumer } = this.#parts;
    this.#end(new BerthError("broker.unavailable", `a delivery of ${consumer} was lost`));
  }

  #onStatus({ subject, headers }: Msg): void {
    const code = headers?.code ?? 0;
    if (code === HEARTBEAT) {
      this.#heard();
      if (lastNumber(headers) > this.#received) this.#lost();
      return;
    }
    if (headers?.description.includes("Consumer Deleted")) {
      this.#end(new BerthError("lease.lost", `${this.#parts.consumer} was taken over`));
      return;
    }
    if (subject !== this.#inbox + String(this.#pull)) return; // Of a pull that was given up.
    // Too few bytes left, or expired.
    if (code === TIMED_OUT || headers?.description.includes("MaxBytes")) {
      this.#heard();
      this.#again();
    } else this.#refused();
  }

  #again(): void {
    this.#left = 0;
    this.#next();
  }

  /** An election, a server that starts: a little later. Until then the pull counts as open and unanswered (C3). */
  #refused(): void {
    const refused = this.#pull;
    this.#parts.clock.after(AGAIN_MS, () => {
      if (refused === this.#pull) this.#again();
    });
  }

  #watch(): void {
    this.#cancelTimer = this.#parts.clock.after(SILENCE_MS, () => {
      if (!this.#isHeard && this.#left > 0) this.#onSilence();
      this.#isHeard = false;
      if (!this.#isEnded) this.#watch();
    });
  }

  #onSilence(): void {
    this.#silences += 1;
    if (this.#silences <= MAX_SILENCES) this.#again();
    else this.#end(new BerthError("broker.unavailable", `${this.#parts.consumer} is silent`));
  }
}

function lastNumber(headers: MsgHdrs | undefined): number {
  return Number(headers?.get("Nats-Last-Consumer") ?? 0);
}

/** Takes `$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<times>.<seq>.<number>.<nanoseconds>.<pending>` apart. */
export function deliveryOf(reply: string | undefined): Delivery | undefined {
  const tokens = (reply ?? "").split(".");
  const at = tokens.length === 9 ? 5 : 7;
  const seq = Number(tokens[at]);
  const number = Number(tokens[at + 1]);
  const storedAt = Number(tokens[at + 2]) / NS_PER_MS;
  return Number.isFinite(seq) && Number.isFinite(storedAt) ? { seq, number, storedAt } : undefined;
}
