/** Requests and subscriptions over a link that has faults. A subscription goes with its connection and comes back with the next. */
import { BerthError } from "../../protocols/errors.ts";
import { startRequestTimer } from "../request-timer.ts";
import type { Again, Bus, Incoming, Late, Serving } from "../transport.ts";
import type { Link } from "./link.ts";

const LANE = "core";
const READY_TIMEOUT_MS = 5_000;
const CLOSE_TIMEOUT_MS = 2_000;
/** Far beyond any deadline: the requester's own clock ends its wait. */
const AT_BROKER_MS = 600_000;

export function faultyBus(link: Link, inner: Bus): Bus {
  return {
    request: (subject, data, timeoutMs, late, again) =>
      request(link, inner, { subject, data, timeoutMs, late, again }),
    publish(subject, data) {
      link.send({ what: "bus.publish", subject, lane: LANE }, () => inner.publish(subject, data));
    },
    serve: (subject, queue, handle) => new FaultyServing(link, inner, { subject, queue, handle }),
  };
}

interface Asked {
  readonly subject: string;
  readonly data: Uint8Array;
  readonly timeoutMs: number;
  readonly late: Late | undefined;
  readonly again: Again | undefined;
}

function request(link: Link, inner: Bus, asked: Asked): Promise<Uint8Array> {
  const { subject, timeoutMs, late, again } = asked;
  const cargo = { what: "bus.request", subject, lane: LANE };
  return new Promise((resolve, reject) => {
    let sendings = 0;
    const settle = (work: () => void) =>
      link.deliver(cargo, () => {
        cancel();
        work();
      });
    const send = (data: Uint8Array) => {
      sendings += 1;
      link.send(cargo, () => {
        inner.request(subject, data, AT_BROKER_MS).then(
          (answer) => settle(() => resolve(answer)),
          // That nobody heard one sending says nothing of the others.
          (thrown: unknown) => sendings === 1 && settle(() => reject(thrown)),
        );
      });
    };
    const giveUp = () => reject(new BerthError("ask.timeout", "No answer came in time"));
    const plan = { timeoutMs, late, again, resend: send, giveUp };
    const cancel = startRequestTimer(link.process.clock(), plan);
    send(asked.data);
  });
}

interface Served {
  readonly subject: string;
  readonly queue: string | undefined;
  readonly handle: (request: Incoming) => void;
}

class FaultyServing implements Serving {
  readonly ready: Promise<void>;
  readonly #link: Link;
  readonly #inner: Bus;
  readonly #served: Served;
  readonly #offBroken: () => void;
  readonly #offRestore: () => void;
  #serving: Serving | undefined;
  #isClosed = false;

  constructor(link: Link, inner: Bus, served: Served) {
    this.#link = link;
    this.#inner = inner;
    this.#served = served;
    const subscribe = { what: "bus.serve", subject: served.subject, lane: LANE };
    this.ready = link.call(subscribe, READY_TIMEOUT_MS, () => this.#open());
    this.ready.catch(() => undefined); // It is told to those who wait for it.
    this.#offBroken = link.onBroken(() => void this.#drop());
    this.#offRestore = link.onRestore(() => link.send(subscribe, () => void this.#open()));
    link.process.onEnd(() => void this.#drop());
  }

  /** Resolves when the broker knows, as far as it can be told. */
  async close(): Promise<void> {
    this.#offRestore();
    const cargo = { what: "bus.close", subject: this.#served.subject, lane: LANE };
    const closing = this.#link.call(cargo, CLOSE_TIMEOUT_MS, async () => {
      this.#isClosed = true;
      this.#offBroken();
      await this.#drop();
    });
    await closing.catch(() => undefined);
  }

  /** At the broker, as all below. */
  async #open(): Promise<void> {
    if (this.#isClosed || this.#serving) return;
    const { subject, queue } = this.#served;
    this.#serving = this.#inner.serve(subject, queue, (incoming) => this.#pass(incoming));
    await this.#serving.ready;
  }

  #pass(incoming: Incoming): void {
    const { subject } = incoming;
    this.#link.deliver({ what: "bus.incoming", subject, lane: LANE }, () =>
      this.#served.handle({
        subject,
        data: incoming.data,
        reply: (data) =>
          this.#link.send({ what: "bus.reply", subject, lane: LANE }, () => incoming.reply(data)),
      }),
    );
  }

  async #drop(): Promise<void> {
    const serving = this.#serving;
    this.#serving = undefined;
    await serving?.close().catch(() => undefined);
  }
}
