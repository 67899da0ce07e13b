/**
 * Notices a server that is cut off from the others of its cluster. Such a server keeps our connection and answers
 * our pings, but it stores nothing and reaches nobody; the client library would stay with it for ever.
 *
 * Invariants:
 * Q1 The server is left only after `PATIENCE_MS` in which everything of one kind was asked in vain: longer than the
 *    five seconds in which a cluster elects a leader.
 * Q2 Only what was stored counts as an answer to a write: a leader that is cut off goes on refusing for a while.
 * Q3 No timer: what the runtime asks anyway (leases, commits, asks) tells.
 */
import type { Clock } from "../clock.ts";

/** `write`: wants a stream's answer. `ask`: wants anybody who listens. */
export type WatchedKind = "write" | "ask";

const PATIENCE_MS = 6_000;

interface Silence {
  readonly since: number;
  readonly last: number;
}

export class QuorumWatch {
  readonly #clock: Clock;
  readonly #leave: () => void;
  readonly #silences = new Map<WatchedKind, Silence>();

  constructor(parts: { readonly clock: Clock; readonly leave: () => void }) {
    this.#clock = parts.clock;
    this.#leave = parts.leave;
  }

  answered(kind: WatchedKind): void {
    if (this.#silences.size > 0) this.#silences.delete(kind);
  }

  /** Nobody listens, or no answer came in time. */
  unanswered(kind: WatchedKind): void {
    const now = this.#clock.monotonic();
    const known = this.#silences.get(kind);
    // After a pause in which nothing was asked, nobody knows what would have been answered.
    const since = known && now - known.last < PATIENCE_MS ? known.since : now;
    this.#silences.set(kind, { since, last: now });
    if (now - since < PATIENCE_MS) return; // Q1
    this.#silences.clear();
    this.#leave();
  }

  /** Another connection: what was asked over the last one says nothing of it. */
  disconnected(): void {
    this.#silences.clear();
  }
}
