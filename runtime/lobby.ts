/**
 * Where actors wait whom mail or recovery wakes: a node that takes over partitions in which 100,000 actors have mail
 * starts a few at a time, and the broker loads no more records than it can give.
 *
 * Invariants:
 * W1 Guests start in the order they came, those with urgent mail before all others.
 * W2 At most `width` start at once. A start ends when the actor has handled something, so one that stands still
 *    afterwards keeps nobody waiting; and it ends after `START_MS` whatever happens.
 * W3 A guest is its waiting mail and nothing else: no record, no timer, no request to the broker.
 */
import type { Clock } from "./clock.ts";

export interface Guest {
  /** Resolves when the actor has handled something or was given up. Never rejects. */
  start(): Promise<void>;
}

export interface LobbyParts {
  readonly clock: Clock;
  readonly width: number;
  /** Whether the node may hold another actor. */
  readonly hasRoom: () => boolean;
}

/** Who is not through by then, for the broker is away or a receiver is full, keeps the others waiting no longer. */
const START_MS = 1_000;

export class Lobby {
  readonly #parts: LobbyParts;
  readonly #urgent = new Set<Guest>();
  readonly #others = new Set<Guest>();
  #starting = 0;

  constructor(parts: LobbyParts) {
    this.#parts = parts;
  }

  get waiting(): number {
    return this.#urgent.size + this.#others.size;
  }

  get hasRoom(): boolean {
    return this.#parts.hasRoom();
  }

  /** Comes in, or moves before the others when it was in already and is urgent now. */
  enter(guest: Guest, urgent: boolean): void {
    if (this.#urgent.has(guest)) return;
    if (urgent) {
      this.#others.delete(guest);
      this.#urgent.add(guest);
    } else this.#others.add(guest);
    this.admit();
  }

  /** Goes without having been started here. */
  leave(guest: Guest): void {
    this.#urgent.delete(guest);
    this.#others.delete(guest);
  }

  /** Starts who may start: called when one comes or a start ends, and now and then, for actors leave the node. */
  admit(): void {
    while (this.#starting < this.#parts.width && this.waiting > 0 && this.hasRoom) {
      const [guest] = this.#urgent.size > 0 ? this.#urgent : this.#others;
      if (!guest) return;
      this.leave(guest);
      void this.#start(guest);
    }
  }

  /** W2. */
  async #start(guest: Guest): Promise<void> {
    this.#starting += 1;
    let cancel = () => {};
    const late = new Promise<void>((resolve) => {
      cancel = this.#parts.clock.after(START_MS, resolve);
    });
    await Promise.race([guest.start(), late]);
    cancel();
    this.#starting -= 1;
    this.admit();
  }
}
