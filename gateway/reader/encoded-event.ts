/**
 * Events as bytes on their way from a journal record to clients: an event that only passes through is never
 * parsed. Who needs its fields gets them; who needs all of it has it parsed then.
 */
import type { SessionEvent } from "../../protocols/events.ts";
import { splitEvents } from "./split-events.ts";

const FRAME_HEAD = Buffer.from('{"type":"event","event":');
const FRAME_TAIL = Buffer.from("}");
const DATA_HEAD = Buffer.from("\ndata: ");
const SSE_TAIL = Buffer.from("\n\n");

/** How the runtime writes an event: these fields first, in this order, in characters that need no escape. */
const HEAD =
  /^\{"id":"[\w:.-]+","seq":(\d{1,15}),"type":"([a-z._]+)","time":"([\w:.+-]+)","session_id":"[\w-]+","job_id":(null|"[\w-]+"),"data":\{/;
/** The head is shorter than this. */
const HEAD_BYTES = 512;

type EventHead = Pick<SessionEvent, "seq" | "type" | "time" | "job_id">;

/** Made ready once for all readers, on every transport. */
export class EncodedEvent {
  readonly seq: number;
  readonly type: SessionEvent["type"];
  readonly time: string;
  readonly job_id: string | null;
  /** A WebSocket text frame's payload. */
  readonly frame: Buffer;
  #sse: Buffer | undefined;

  /** `json` is copied: it may lie in a buffer that is used again. */
  constructor(json: Uint8Array, head: EventHead) {
    this.seq = head.seq;
    this.type = head.type;
    this.time = head.time;
    this.job_id = head.job_id;
    this.frame = Buffer.concat([FRAME_HEAD, json, FRAME_TAIL]);
  }

  get json(): Buffer {
    return this.frame.subarray(FRAME_HEAD.length, -FRAME_TAIL.length);
  }

  /** Parsed at each call. */
  get data(): SessionEvent["data"] {
    return (JSON.parse(this.json.toString()) as SessionEvent).data;
  }

  /** A server-sent event. Only what is persisted has an id: a client resumes from ids. */
  get sse(): Buffer {
    const id = this.type === "session.gap" ? "" : `id: ${this.seq}\n`;
    const head = Buffer.from(`${id}event: ${this.type}`);
    this.#sse ??= Buffer.concat([head, DATA_HEAD, this.json, SSE_TAIL]);
    return this.#sse;
  }
}

/**
 * The events of a journal record, without checking each field again: the writer did, and every line that an
 * agent prints passes here. Throws when the bytes are no record.
 */
export function eventsOf(record: Uint8Array): EncodedEvent[] {
  const bytes = Buffer.from(record.buffer, record.byteOffset, record.byteLength);
  const parts = splitEvents(bytes);
  if (parts) return parts.map(([from, to]) => encodedOf(bytes.subarray(from, to)));
  const { events = [] } = JSON.parse(bytes.toString()) as { events?: SessionEvent[] };
  return events.map(encode);
}

function encodedOf(json: Buffer): EncodedEvent {
  const [, seq, type, time, jobId] = HEAD.exec(json.toString("latin1", 0, HEAD_BYTES)) ?? [];
  if (!seq || !type || !time || !jobId) return encode(JSON.parse(json.toString()) as SessionEvent);
  return new EncodedEvent(json, {
    seq: Number(seq),
    type: type as SessionEvent["type"],
    time,
    job_id: jobId === "null" ? null : jobId.slice(1, -1),
  });
}

function encode(event: SessionEvent): EncodedEvent {
  return new EncodedEvent(Buffer.from(JSON.stringify(event)), event);
}

/** Says that what is between the reader's cursor and `oldest` is no longer kept; stands where the missing event stood. */
export function gapEvent(sessionId: string, oldest: number, time: string): EncodedEvent {
  return encode({
    id: `gap_${oldest}`,
    seq: oldest - 1,
    type: "session.gap",
    time,
    session_id: sessionId,
    job_id: null,
    data: { oldest },
  });
}
