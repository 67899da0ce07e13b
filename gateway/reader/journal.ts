/** History of one session from the journal, read in bounded steps; readers that ask for the same step share it. */
import { BerthError } from "../../protocols/errors.ts";
import type { ActorRef } from "../../protocols/ids.ts";
import { decodePage } from "../../runtime/record.ts";
import type { Records } from "../../runtime/transport.ts";
import { type EncodedEvent, eventsOf } from "./encoded-event.ts";
import { decidePageCount, decideRevision } from "./splice.ts";

const FIRST_COUNT = 16;

/** One reading of the journal. */
export interface Stretch {
  readonly events: readonly EncodedEvent[];
  /** Where to go on. */
  readonly nextRevision: number;
  readonly nextCount: number;
  /** No record was there. Fewer than asked for is no proof of the end: the broker bounds an answer by bytes. */
  readonly end: boolean;
}

export interface Position {
  readonly revision: number;
  readonly count: number;
}

export interface Newest {
  readonly lastSeq: number;
  readonly index: readonly (readonly [number, number])[];
}

export class Journal {
  readonly #ref: ActorRef;
  readonly #records: Records;
  readonly #shared = new Map<string, Promise<Stretch>>();
  #newest: Promise<Newest> | undefined;

  constructor(ref: ActorRef, records: Records) {
    this.#ref = ref;
    this.#records = records;
  }

  /** The newest record's view of the log; a log that was never written to has `lastSeq` 0. */
  newest(): Promise<Newest> {
    this.#newest ??= this.#load().finally(() => {
      this.#newest = undefined;
    });
    return this.#newest;
  }

  /** Where to start reading for the event after `cursor`. */
  async locate(cursor: number): Promise<Position> {
    if (cursor === 0) return { revision: 0, count: FIRST_COUNT };
    const { index } = await this.newest();
    return { revision: decideRevision(index, cursor), count: FIRST_COUNT };
  }

  read(position: Position): Promise<Stretch> {
    const name = `${position.revision}/${position.count}`;
    const running = this.#shared.get(name);
    if (running) return running;
    const reading = this.#read(position).finally(() => this.#shared.delete(name));
    this.#shared.set(name, reading);
    return reading;
  }

  async #load(): Promise<Newest> {
    const record = await this.#records.load(this.#ref, true);
    if (!record) return { lastSeq: 0, index: [] };
    const { lastSeq, index } = decodePage(record.data);
    return { lastSeq, index };
  }

  async #read({ revision, count }: Position): Promise<Stretch> {
    const records = await this.#records.journal(this.#ref, revision, count);
    const events: EncodedEvent[] = [];
    let bytes = 0;
    for (const record of records) {
      bytes += record.data.length;
      events.push(...eventsOf(record.data));
    }
    const last = records.at(-1);
    return {
      events,
      nextRevision: last ? last.revision + 1 : revision,
      nextCount: decidePageCount(count, bytes),
      end: records.length === 0,
    };
  }
}

/** Events after `cursor`, at most `limit`, for a reader that does not wait. */
export async function readPage(
  journal: Journal,
  cursor: number,
  limit: number,
): Promise<{ readonly events: readonly EncodedEvent[]; readonly hasMore: boolean }> {
  const events: EncodedEvent[] = [];
  let position = await journal.locate(cursor);
  for (;;) {
    const stretch = await journal.read(position);
    for (const event of stretch.events) if (event.seq > cursor) events.push(event);
    if (events.length > limit) return { events: events.slice(0, limit), hasMore: true };
    if (stretch.end) return { events, hasMore: false };
    if (stretch.nextRevision <= position.revision) {
      throw new BerthError("internal.unexpected", "the journal does not go forward");
    }
    position = { revision: stretch.nextRevision, count: stretch.nextCount };
  }
}

/** The cursor in front of a job's events: a search over the index by time, so that a long log is not read through. */
export async function locateJob(
  journal: Journal,
  records: Records,
  ref: ActorRef,
  createdAt: number,
): Promise<number> {
  const { index } = await journal.newest();
  let low = 0;
  let high = index.length;
  // The mark before the first one whose page is younger than the job.
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const mark = index[middle];
    const [page] = mark ? await records.journal(ref, mark[1], 1) : [];
    const first = page && eventsOf(page.data)[0];
    if (first && Date.parse(first.time) >= createdAt - CLOCK_MARGIN_MS) high = middle;
    else low = middle + 1;
  }
  const before = index[low - 1];
  return before ? before[0] - 1 : 0;
}

/** Nodes' clocks differ: a job may seem younger than its own events. */
const CLOCK_MARGIN_MS = 60_000;
