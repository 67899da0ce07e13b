/** An event made ready once for all its readers, on every transport. */
import type { SessionEvent } from "../../protocols/events.ts";

export class EncodedEvent {
  readonly event: SessionEvent;
  #json: string | undefined;
  #frame: Buffer | undefined;
  #sse: Buffer | undefined;

  constructor(event: SessionEvent) {
    this.event = event;
  }

  get seq(): number {
    return this.event.seq;
  }

  get json(): string {
    this.#json ??= JSON.stringify(this.event);
    return this.#json;
  }

  /** A WebSocket text frame's payload. */
  get frame(): Buffer {
    this.#frame ??= Buffer.from(`{"type":"event","event":${this.json}}`);
    return this.#frame;
  }

  /** A server-sent event. Only what is persisted has an id: a client resumes from ids. */
  get sse(): Buffer {
    const id = this.event.type === "session.gap" ? "" : `id: ${this.seq}\n`;
    this.#sse ??= Buffer.from(`${id}event: ${this.event.type}\ndata: ${this.json}\n\n`);
    return this.#sse;
  }
}

const decoder = new TextDecoder();

/**
 * The events of a journal record, without checking each field again: the writer did, and every line that an
 * agent prints passes here. Throws when the bytes are no record.
 */
export function eventsOf(record: Uint8Array): EncodedEvent[] {
  const { events = [] } = JSON.parse(decoder.decode(record)) as { events?: SessionEvent[] };
  return events.map((event) => new EncodedEvent(event));
}

/** Says that what is between the reader's cursor and `oldest` is no longer kept; stands where the missing event stood. */
export function gapEvent(sessionId: string, oldest: number, time: string): EncodedEvent {
  return new EncodedEvent({
    id: `gap_${oldest}`,
    seq: oldest - 1,
    type: "session.gap",
    time,
    session_id: sessionId,
    job_id: null,
    data: { oldest },
  });
}
