/**
 * Events of one attempt that wait for their frame. Invariants:
 * O1 order is kept: an event is merged only into the last one that waits.
 * O2 no event is larger than `MAX_EVENT_BYTES`, so that a frame, and the journal record made of it, fits the broker.
 */
import type { DraftEvent } from "../protocols/events.ts";

const MAX_EVENT_BYTES = 128 * 1024;
export const MAX_FRAME_BYTES = 256 * 1024;
/** Consecutive pieces of one stream become one event up to this size. */
const MAX_MERGED_BYTES = 32 * 1024;
/** What the session adds around each event's data: id, seq, time, session, job. */
const EVENT_OVERHEAD_BYTES = 256;

interface Waiting {
  event: DraftEvent;
  bytes: number;
}

export class Outbox {
  #waiting: Waiting[] = [];
  #bytes = 0;

  /** Bytes that wait, as JSON. */
  get bytes(): number {
    return this.#bytes;
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  push(event: DraftEvent): void {
    const next = bounded(event);
    const last = this.#waiting.at(-1);
    const merged = last === undefined ? undefined : decideMerge(last, next);
    if (last === undefined || merged === undefined) {
      this.#waiting.push(next);
      this.#bytes += next.bytes;
    } else {
      this.#bytes += merged.bytes - last.bytes;
      this.#waiting[this.#waiting.length - 1] = merged;
    }
  }

  /** The next frame's events: at least one, if any waits, and as many as fit. */
  take(): DraftEvent[] {
    let bytes = 0;
    let count = 0;
    for (const { bytes: size } of this.#waiting) {
      if (count > 0 && bytes + size > MAX_FRAME_BYTES) break;
      bytes += size;
      count++;
    }
    this.#bytes -= bytes;
    return this.#waiting.splice(0, count).map(({ event }) => event);
  }

  clear(): void {
    this.#waiting = [];
    this.#bytes = 0;
  }
}

function sizeOf(event: DraftEvent): number {
  return Buffer.byteLength(JSON.stringify(event.data)) + EVENT_OVERHEAD_BYTES;
}

/** Output that follows output of the same stream and kind, and deltas of one message, read the same as one. */
function decideMerge(last: Waiting, next: Waiting): Waiting | undefined {
  const bytes = last.bytes + next.bytes - EVENT_OVERHEAD_BYTES;
  if (bytes > MAX_MERGED_BYTES || last.event.type !== next.event.type) return undefined;
  const [a, b] = [last.event.data, next.event.data];
  const isOutput =
    next.event.type === "agent.output" &&
    a["stream"] === b["stream"] &&
    a["binary"] === b["binary"] &&
    a["truncated_bytes"] === undefined &&
    b["truncated_bytes"] === undefined;
  const isDelta =
    next.event.type === "agent.message" &&
    a["partial"] === true &&
    b["partial"] === true &&
    a["role"] === b["role"];
  if (!isOutput && !isDelta) return undefined;
  const text = `${String(a["text"])}${String(b["text"])}`;
  return { event: { ...last.event, data: { ...a, text } }, bytes };
}

/** O2: long texts are cut with a note of how much is missing; a tool's large value becomes its beginning. */
function bounded(event: DraftEvent): Waiting {
  const bytes = sizeOf(event);
  if (bytes <= MAX_EVENT_BYTES) return { event, bytes };
  const data = Object.fromEntries(
    Object.entries(event.data).map(([name, value]) => [name, boundedValue(value)]),
  );
  const cut = { ...event, data };
  return { event: cut, bytes: sizeOf(cut) };
}

/** Escaped as JSON a UTF-16 unit takes six bytes at most, so one such field stays under the limit (O2). */
const MAX_TEXT_UNITS = 16 * 1024;

function boundedValue(value: unknown): unknown {
  const isText = typeof value === "string";
  const text = isText ? value : (JSON.stringify(value) ?? "");
  if (text.length <= MAX_TEXT_UNITS) return value;
  const cut = `${text.slice(0, MAX_TEXT_UNITS)}\u2026 [${text.length - MAX_TEXT_UNITS} characters cut]`;
  return isText ? cut : { truncated: true, preview: cut };
}
