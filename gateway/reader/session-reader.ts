/**
 * One reader of one session: a cursor that goes from history into live events.
 *
 * S1 The cursor only grows, by the seq of each event handed over: nothing is doubled or out of order.
 * S2 An event is handed over only if it follows the cursor, or after an explicit gap: nothing is skipped silently.
 * S3 Nothing is handed over while the sink is full. At most one reading of the journal is held meanwhile (R7).
 */

import { formatTime } from "../../protocols/api.ts";
import type { BerthError } from "../../protocols/errors.ts";
import type { ActorRef } from "../../protocols/ids.ts";
import type { Clock } from "../../runtime/clock.ts";
import { thrownError } from "../problem.ts";
import { type EncodedEvent, gapEvent } from "./encoded-event.ts";
import type { Position, Stretch } from "./journal.ts";
import type { SessionFeed, SessionFeeds } from "./session-feed.ts";
import { decideGap, decideStep } from "./splice.ts";

/** Where events go. */
export interface Sink {
  /** Whether it takes more; when it does again, its owner calls `pump`. */
  readonly ready: boolean;
  /** Returns false when it wants no more events ever, such as after a job's last one. */
  write(event: EncodedEvent): boolean;
  /** The reader ended; with an error, or by the sink's own wish. */
  end(error: BerthError | undefined): void;
}

const RETRY_MS = { first: 25, longest: 2_000 } as const;
/** Readings that find nothing although the tail is ahead, before the events between count as gone. */
const STALE_READS = 10;
/** Failed readings in a row before the reader gives up: half a minute. */
const FAILED_READS = 20;

export class SessionReader {
  readonly #ref: ActorRef;
  readonly #sink: Sink;
  readonly #feeds: SessionFeeds;
  readonly #feed: SessionFeed;
  readonly #clock: Clock;
  #cursor: number;
  #position: Position | undefined;
  #held: readonly EncodedEvent[] = [];
  #heldAt = 0;
  /** The feed's generation up to which the journal was read to its end. */
  #verified = -1;
  #reading = false;
  #pumping = false;
  #closed = false;
  #stale = 0;
  #failed = 0;

  constructor(deps: {
    readonly ref: ActorRef;
    readonly after: number;
    readonly sink: Sink;
    readonly feeds: SessionFeeds;
    readonly clock: Clock;
  }) {
    this.#ref = deps.ref;
    this.#cursor = deps.after;
    this.#sink = deps.sink;
    this.#feeds = deps.feeds;
    this.#clock = deps.clock;
    this.#feed = deps.feeds.join(deps.ref, this);
  }

  /** Seq of the last event handed over. */
  get cursor(): number {
    return this.#cursor;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#held = [];
    this.#feeds.leave(this.#ref, this);
  }

  /** Hands over what is there and may be handed over. Not reentrant: a sink may call it from `write`. */
  pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      while (!this.#closed && !this.#reading && this.#sink.ready && this.#step());
    } finally {
      this.#pumping = false;
    }
  }

  /** One move; true when another may follow. */
  #step(): boolean {
    const held = this.#held[this.#heldAt];
    if (held) {
      this.#heldAt += 1;
      this.#deliver(held);
      return true;
    }
    const step = decideStep({
      cursor: this.#cursor,
      verified: this.#verified === this.#feed.generation,
      tail: this.#feed.tail,
    });
    if (step === "tail") {
      this.#deliverTail();
      return true;
    }
    if (step === "journal") void this.#read();
    return false;
  }

  #deliverTail(): void {
    this.#position = undefined;
    for (const event of this.#feed.after(this.#cursor)) {
      this.#deliver(event);
      if (this.#closed || !this.#sink.ready) return;
    }
  }

  #deliver(event: EncodedEvent): void {
    if (event.seq <= this.#cursor) return; // S1
    const gap = decideGap(this.#cursor, event.seq); // S2
    if (gap) {
      const missing = gapEvent(this.#ref.key, gap.oldest, formatTime(this.#clock.now()));
      this.#hand(missing);
    }
    if (!this.#closed) this.#hand(event);
  }

  #hand(event: EncodedEvent): void {
    this.#cursor = event.seq;
    if (!this.#sink.write(event)) this.#end(undefined);
  }

  #end(error: BerthError | undefined): void {
    if (this.#closed) return;
    this.close();
    this.#sink.end(error);
  }

  async #read(): Promise<void> {
    this.#reading = true;
    try {
      await this.#feed.ready; // F1
      const generation = this.#feed.generation;
      this.#position ??= await this.#feed.journal.locate(this.#cursor);
      const stretch = await this.#feed.journal.read(this.#position);
      this.#failed = 0;
      await this.#took(stretch, generation);
    } catch (thrown) {
      await this.#retry(thrown);
    } finally {
      this.#reading = false;
    }
    this.pump();
  }

  async #took(stretch: Stretch, generation: number): Promise<void> {
    this.#position = { revision: stretch.nextRevision, count: stretch.nextCount };
    this.#held = stretch.events.filter((event) => event.seq > this.#cursor);
    this.#heldAt = 0;
    if (this.#held.length > 0) this.#stale = 0;
    if (!stretch.end) return;
    if (this.#held.length === 0 && (await this.#isStale())) return;
    this.#verified = generation;
  }

  /** A follower of the broker's group may answer behind its leader: what the tail has, the journal has soon. */
  async #isStale(): Promise<boolean> {
    const { tail } = this.#feed;
    if (!tail || tail.last <= this.#cursor || tail.first <= this.#cursor + 1) return false;
    this.#stale += 1;
    if (this.#stale > STALE_READS) {
      this.#hand(gapEvent(this.#ref.key, tail.first, formatTime(this.#clock.now())));
      return false;
    }
    await this.#pause(this.#stale);
    return true;
  }

  async #retry(thrown: unknown): Promise<void> {
    this.#failed += 1;
    this.#position = undefined;
    if (this.#failed >= FAILED_READS) return this.#end(thrownError(thrown));
    await this.#pause(this.#failed);
  }

  #pause(tries: number): Promise<void> {
    return this.#clock.sleep(Math.min(RETRY_MS.longest, RETRY_MS.first * 2 ** tries));
  }
}
