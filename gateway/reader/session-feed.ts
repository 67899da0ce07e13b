/**
 * The live side of one session on one gateway: one core subscription for all its readers, and a short
 * tail of events in memory.
 *
 * F1 The subscription stands before any history is read: what is stored after that comes live or is seen in the journal.
 * F2 The tail has no hole. A page that leaves one out restarts the tail, and readers before it read the journal.
 * F3 Core messages may be lost. A reconnect, or a look at the newest record that does not match, makes every
 *    reader read the journal to its end again (`generation`).
 * F4 The tail is bounded; a reader that falls off its old end reads the journal.
 */
import type { ActorRef } from "../../protocols/ids.ts";
import { subjects } from "../../protocols/subjects.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { Metrics } from "../../runtime/metrics.ts";
import type { Serving, Transport } from "../../runtime/transport.ts";
import { type EncodedEvent, eventsOf } from "./encoded-event.ts";
import { Journal } from "./journal.ts";
import { decideArrival, type Span } from "./splice.ts";

const TAIL_BYTES = 1024 ** 2;

/** A reader as its feed sees it. */
interface Follower {
  readonly cursor: number;
  /** Something may be there to read. */
  pump(): void;
}

export class SessionFeed {
  readonly journal: Journal;
  /** Resolves once the broker knows of the subscription (F1). */
  readonly ready: Promise<void>;
  readonly #followers = new Set<Follower>();
  readonly #serving: Serving;
  readonly #stops: (() => void)[] = [];
  readonly #deps: FeedDeps;
  #tail: EncodedEvent[] = [];
  #sizes: number[] = [];
  #tailBytes = 0;
  /** Seq of the newest event that came live. */
  #last: number | undefined;
  #generation = 0;
  #heard = true;

  constructor(ref: ActorRef, deps: FeedDeps) {
    this.#deps = deps;
    this.journal = new Journal(ref, deps.transport.records);
    this.#serving = deps.transport.bus.serve(subjects.live(ref), undefined, (message) =>
      this.#take(message.data),
    );
    this.ready = this.#serving.ready;
    this.#stops.push(deps.transport.onReconnect(() => this.#doubt()));
    this.#verifyLater();
  }

  get generation(): number {
    return this.#generation;
  }

  get tail(): Span | undefined {
    if (this.#last === undefined) return undefined;
    return { first: this.#tail[0]?.seq ?? this.#last + 1, last: this.#last };
  }

  get followers(): number {
    return this.#followers.size;
  }

  /** Events of the tail after `cursor`, which the tail must cover. */
  *after(cursor: number): Iterable<EncodedEvent> {
    const first = this.#tail[0]?.seq ?? 0;
    for (let at = Math.max(0, cursor + 1 - first); at < this.#tail.length; at += 1) {
      const event = this.#tail[at];
      if (event) yield event;
    }
  }

  join(follower: Follower): void {
    this.#followers.add(follower);
  }

  leave(follower: Follower): void {
    this.#followers.delete(follower);
  }

  async close(): Promise<void> {
    for (const stop of this.#stops) stop();
    await this.#serving.close();
  }

  #take(data: Uint8Array): void {
    this.#heard = true;
    let events: readonly EncodedEvent[];
    try {
      events = eventsOf(data);
    } catch (error) {
      this.#deps.logger.error({ error }, "a live record cannot be read");
      this.#doubt();
      return;
    }
    const first = events[0];
    const last = events.at(-1);
    if (!first || !last) return;
    const arrival = decideArrival(this.#last, { first: first.seq, last: last.seq });
    if (arrival === "ignore") return;
    const had = this.#last ?? 0;
    if (arrival === "restart") this.#clear();
    for (const event of events) {
      if (arrival === "append" && event.seq <= had) continue;
      this.#push(event);
    }
    this.#last = last.seq;
    this.#wake();
    const { clock, metrics } = this.#deps;
    const lagMs = clock.now() - Date.parse(last.time);
    metrics.observe("berth_gateway_event_lag_seconds", Math.max(0, lagMs) / 1_000);
  }

  #push(event: EncodedEvent): void {
    const size = event.frame.length;
    this.#tail.push(event);
    this.#sizes.push(size);
    this.#tailBytes += size;
  }

  #wake(): void {
    let slowest = Number.POSITIVE_INFINITY;
    for (const follower of this.#followers) {
      follower.pump();
      slowest = Math.min(slowest, follower.cursor);
    }
    this.#trim(slowest);
  }

  /** Drops what every reader has had, and the oldest while the tail is too large (F4). */
  #trim(slowest: number): void {
    if (slowest >= (this.#last ?? 0)) {
      this.#clear();
      return;
    }
    let drop = 0;
    while (this.#tailBytes > TAIL_BYTES && drop < this.#tail.length) {
      this.#tailBytes -= this.#sizes[drop] ?? 0;
      drop += 1;
    }
    if (drop === 0) return;
    this.#tail = this.#tail.slice(drop);
    this.#sizes = this.#sizes.slice(drop);
  }

  #clear(): void {
    this.#tail = [];
    this.#sizes = [];
    this.#tailBytes = 0;
  }

  #doubt(): void {
    this.#generation += 1;
    this.#wake();
  }

  /** A feed that heard nothing for a while compares itself with the log (F3). */
  #verifyLater(): void {
    const stop = this.#deps.clock.after(this.#deps.verifyMs, () => {
      this.#stops.splice(this.#stops.indexOf(stop), 1);
      const quiet = !this.#heard;
      this.#heard = false;
      this.#verifyLater();
      if (quiet) void this.#verify();
    });
    this.#stops.push(stop);
  }

  async #verify(): Promise<void> {
    try {
      const { lastSeq } = await this.journal.newest();
      const behind = [...this.#followers].some((follower) => follower.cursor < lastSeq);
      if (behind) this.#doubt();
    } catch {
      // The broker does not answer: the next look, or the reconnect, tells.
    }
  }
}

interface FeedDeps {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly verifyMs: number;
}

/** The feeds of a gateway: made with the first reader of a session, closed with the last (R9). */
export class SessionFeeds {
  readonly #feeds = new Map<string, SessionFeed>();
  readonly #deps: FeedDeps;

  constructor(deps: FeedDeps) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#feeds.size;
  }

  join(ref: ActorRef, follower: Follower): SessionFeed {
    const name = `${ref.tenant}/${ref.key}`;
    let feed = this.#feeds.get(name);
    if (!feed) {
      feed = new SessionFeed(ref, this.#deps);
      this.#feeds.set(name, feed);
    }
    feed.join(follower);
    return feed;
  }

  leave(ref: ActorRef, follower: Follower): void {
    const name = `${ref.tenant}/${ref.key}`;
    const feed = this.#feeds.get(name);
    if (!feed) return;
    feed.leave(follower);
    if (feed.followers > 0) return;
    this.#feeds.delete(name);
    feed.close().catch((error: unknown) => {
      this.#deps.logger.warn({ error }, "a live subscription did not close");
    });
  }
}
