/** A ping each interval; a peer that answered nothing since the last one is gone. */
import { BerthError } from "../../protocols/errors.ts";
import type { Clock } from "../../runtime/clock.ts";

export const NO_ANSWER = new BerthError("ask.timeout", "no answer to a ping");

interface HeartbeatOptions {
  readonly everyMs: number;
  readonly ping: () => void;
  /** Whether the peer could have answered: what waits behind much output has not reached it yet. */
  readonly isFair: () => boolean;
  readonly onGone: () => void;
}

export class Heartbeat {
  readonly #clock: Clock;
  readonly #options: HeartbeatOptions;
  #answered = true;
  #stop: () => void = () => undefined;

  constructor(clock: Clock, options: HeartbeatOptions) {
    this.#clock = clock;
    this.#options = options;
  }

  start(): void {
    this.#stop = this.#clock.after(this.#options.everyMs, () => this.#beat());
  }

  stop(): void {
    this.#stop();
  }

  /** Anything that the peer sends is an answer. */
  heard(): void {
    this.#answered = true;
  }

  #beat(): void {
    const { isFair, onGone, ping } = this.#options;
    if (!this.#answered && isFair()) {
      onGone();
      return;
    }
    this.#answered = false;
    ping();
    this.start();
  }
}
