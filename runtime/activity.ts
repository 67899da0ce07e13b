/**
 * What one activation is doing, kept as it goes: a few assignments per commit, so that anyone who asks why an actor
 * does not answer can be told (`inspection.ts` makes the sentence of it).
 */
import type { BerthError } from "../protocols/errors.ts";
import type { Clock } from "./clock.ts";
import { type Item, messageOf } from "./inbox.ts";
import type { OutboxEntry } from "./record.ts";

/** Where the work of an activation stands; the rest of its state follows from its inbox and its supervision. */
export type Phase =
  | "idle"
  | "loading"
  | "handling"
  | "committing"
  | "publishing"
  /** The broker failed: a pause before the next try. */
  | "recovering"
  /** Nothing may be handled yet. */
  | "waiting";

export interface LastError {
  readonly code: string;
  readonly message: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/** What all activations of a node have done together, those gone included. */
export interface Tally {
  turns: number;
}

export class Activity {
  phase: Phase = "idle";
  /** Monotonic milliseconds at which the phase began. */
  since: number;
  /** The first message of those being handled, and how many share their commit. */
  message: string | undefined;
  batch = 0;
  /** Messages handled since the activation began. */
  turns = 0;
  /** Outbox entries that no receiver has confirmed, in their order. */
  unsent: ReadonlySet<OutboxEntry> = new Set();
  lastError: LastError | undefined;
  readonly #clock: Clock;
  readonly #tally: Tally;

  constructor({ clock, tally }: { readonly clock: Clock; readonly tally: Tally }) {
    this.#clock = clock;
    this.#tally = tally;
    this.since = clock.monotonic();
  }

  enter(phase: Phase): void {
    this.phase = phase;
    this.since = this.#clock.monotonic();
  }

  handling(items: ReadonlySet<Item>): void {
    const [first] = items;
    this.message = first && messageOf(first);
    this.batch = items.size;
    this.enter("handling");
  }

  /** Returns what must be called with each entry that was stored. */
  publishing(entries: readonly OutboxEntry[]): (entry: OutboxEntry) => void {
    const unsent = new Set(entries);
    this.unsent = unsent;
    this.enter("publishing");
    return (entry) => unsent.delete(entry);
  }

  handled(turns: number): void {
    this.turns += turns;
    this.#tally.turns += turns;
  }

  rest(): void {
    this.message = undefined;
    this.batch = 0;
    this.enter("idle");
  }

  failed({ code, message }: BerthError): void {
    this.lastError = { code, message, at: this.#clock.now() };
  }
}
