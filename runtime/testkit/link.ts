/**
 * The connection of one process to the broker, and what befalls it. It knows nothing of what it carries.
 *
 * Invariants:
 * W1 Messages of one lane and direction arrive in the order sent. Lanes do not wait for each other: a stream's
 *    confirmations come in order, an answer of the broker's API may come before an earlier one of a stream.
 * W2 A connection that breaks takes what is on its way, in both directions. Calls that wait for an answer learn it at
 *    once; what is sent until the process is connected again is lost.
 * W3 A direction that is cut holds messages back and loses none, as a network that comes back soon does; after
 *    `staleMs` the process takes the connection for broken.
 * W4 What an ended process had sent still arrives.
 */
import { BerthError } from "../../protocols/errors.ts";
import type { Clock } from "../clock.ts";
import type { Faults, Passage } from "./faults.ts";
import type { TestProcess } from "./process.ts";

type Direction = Passage["direction"];

export interface Cargo {
  readonly what: string;
  readonly subject: string;
  /** Cargo of one lane keeps its order; without one it goes as fast as it can. */
  readonly lane?: string;
}

interface Passenger {
  readonly direction: Direction;
  readonly cargo: Cargo;
  readonly arrive: () => void;
  /** Runs instead of `arrive` when the broker refuses. */
  readonly refused?: () => void;
  /** Runs when it comes a second time. */
  readonly again?: () => void;
}

export interface LinkOptions {
  /** The clock outside of the process. */
  readonly clock: Clock;
  readonly process: TestProcess;
  readonly faults: Faults;
  /** After so long without a sign of the other side the process gives the connection up (default 12 000: two pings). */
  readonly staleMs?: number;
  /** From the end of a break to being connected again (default 250). */
  readonly reconnectMs?: number;
}

const DEFAULT_STALE_MS = 12_000;
const DEFAULT_RECONNECT_MS = 250;

export class Link {
  readonly process: TestProcess;
  /** The clock outside of the process. */
  readonly clock: Clock;
  readonly #options: LinkOptions;
  readonly #lanes = new Map<string, (() => void)[]>();
  readonly #waiting = new Set<(error: BerthError) => void>();
  readonly #onBroken = new Set<() => void>();
  readonly #onRestore = new Set<() => void>();
  readonly #onBack = new Set<() => void>();
  #cut: readonly Direction[] = [];
  #held: Passenger[] = [];
  /** Counts connections: what was sent on an earlier one is lost (W2). */
  #connection = 1;
  #isConnected = true;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.process = options.process;
    this.clock = options.clock;
  }

  /** Called at the broker's side when the connection has broken. */
  onBroken(fn: () => void): () => void {
    return listen(this.#onBroken, fn);
  }

  /** Called inside the process when it is connected again, before `onBack`. */
  onRestore(fn: () => void): () => void {
    return listen(this.#onRestore, fn);
  }

  /** Called inside the process when it is connected again. */
  onBack(fn: () => void): () => void {
    return listen(this.#onBack, fn);
  }

  /** To the broker. `arrive` runs there; `again` when the message comes twice. */
  send(cargo: Cargo, arrive: () => void, again?: () => void): void {
    if (this.process.state === "ended") return;
    this.#carry({ direction: "out", cargo, arrive, ...(again ? { again } : {}) });
  }

  /** To the process. `arrive` runs inside it; `again`, when the message is to come twice, at the broker. */
  deliver(cargo: Cargo, arrive: () => void, again?: () => void): void {
    const inside = () => this.process.enter(arrive);
    this.#carry({ direction: "in", cargo, arrive: inside, ...(again ? { again } : {}) });
  }

  /** Asks the broker. Rejects as `work` does, or with `broker.unavailable` when no answer comes. */
  call<T>(cargo: Cargo, timeoutMs: number, work: () => Promise<T>, again?: () => void): Promise<T> {
    return new Promise((resolve, reject) => {
      const end = (settle: () => void) => {
        cancel();
        this.#waiting.delete(fail);
        settle();
      };
      const fail = (thrown: unknown) => end(() => reject(thrown));
      const cancel = this.process.clock().after(timeoutMs, () => fail(unavailable("no answer")));
      this.#waiting.add(fail);
      const answer = (settle: () => void) => this.deliver(cargo, () => end(settle));
      const failed = (thrown: unknown) => answer(() => reject(thrown));
      const arrive = () => void work().then((value) => answer(() => resolve(value)), failed);
      const refused = () => failed(unavailable("the broker refused"));
      if (this.process.state === "ended") return;
      this.#carry({ direction: "out", cargo, arrive, refused, ...(again ? { again } : {}) });
    });
  }

  /** Lets nothing through in these directions until `mend` (W3). */
  cut(directions: readonly Direction[] = ["out", "in"]): void {
    this.#cut = directions;
    const connection = this.#connection;
    const { staleMs = DEFAULT_STALE_MS } = this.#options;
    this.clock.after(staleMs, () => {
      if (this.#cut.length > 0 && this.#connection === connection) this.reset();
    });
  }

  mend(): void {
    this.#cut = [];
    const held = this.#held;
    this.#held = [];
    for (const passenger of held) this.#carry(passenger);
    if (!this.#isConnected) this.#reconnect();
  }

  /** Breaks the connection; the process connects again as soon as the network lets it (W2). */
  reset(): void {
    if (!this.#isConnected) return;
    this.#isConnected = false;
    this.#connection += 1;
    this.#lanes.clear();
    this.#held = [];
    const waiting = [...this.#waiting];
    this.process.enter(() => {
      for (const fail of waiting) fail(unavailable("the connection broke"));
    });
    for (const fn of this.#onBroken) fn();
    this.#reconnect();
  }

  #reconnect(): void {
    const { reconnectMs = DEFAULT_RECONNECT_MS } = this.#options;
    this.clock.after(reconnectMs, () => {
      if (this.#cut.length > 0) return;
      this.process.enter(() => {
        if (this.#isConnected) return;
        this.#isConnected = true;
        for (const fn of [...this.#onRestore, ...this.#onBack]) fn();
      });
    });
  }

  #carry(passenger: Passenger): void {
    const { direction, cargo, arrive, refused, again } = passenger;
    if (!this.#isConnected) return;
    if (this.#cut.includes(direction)) {
      this.#held.push(passenger);
      return;
    }
    const { what, subject, lane } = cargo;
    const fate = this.#options.faults.fate({
      process: this.process.name,
      direction,
      what,
      subject,
    });
    if (fate.lost) return;
    const connection = this.#connection;
    const onThis = (fn: () => void) => () => {
      if (connection === this.#connection) fn();
    };
    this.#arrange(
      lane && `${direction} ${lane}`,
      fate.delayMs,
      onThis(fate.refused && refused ? refused : arrive),
    );
    if (fate.againMs !== undefined && again)
      this.clock.after(fate.delayMs + fate.againMs, onThis(again));
  }

  /** Whoever is due takes the first of the lane: delays may differ, the order stays (W1). */
  #arrange(lane: string | undefined, delayMs: number, run: () => void): void {
    if (lane === undefined) {
      this.clock.after(delayMs, run);
      return;
    }
    const queue = this.#lanes.get(lane) ?? [];
    this.#lanes.set(lane, queue);
    queue.push(run);
    this.clock.after(delayMs, () => queue.shift()?.());
  }
}

function unavailable(message: string): BerthError {
  return new BerthError("broker.unavailable", message);
}

function listen(listeners: Set<() => void>, fn: () => void): () => void {
  listeners.add(fn);
  return () => listeners.delete(fn);
}
