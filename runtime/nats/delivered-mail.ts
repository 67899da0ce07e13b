/** A message of the mail or reminder stream as the runtime sees it. */
import type { Due, Envelope } from "../../protocols/envelope.ts";
import { parseMailSubject, refOfSubject } from "../../protocols/subjects.ts";
import type { Mail } from "../transport.ts";

export interface Delivered {
  readonly subject: string;
  readonly seq: number;
  readonly data: Uint8Array;
  readonly storedAt: number;
  /** Never throws: on a closed connection the broker delivers again, and the record tells what was handled. */
  readonly ack: () => void;
}

const DUE = "berth.due.";
const decoder = new TextDecoder();

/** Parsed when it is first looked at; then the bytes are let go, for they keep a whole chunk of the socket alive. */
export class DeliveredMail implements Mail {
  readonly ref: Mail["ref"];
  readonly lane: Mail["lane"];
  readonly seq: number;
  readonly size: number;
  readonly storedAt: number;
  readonly ack: () => void;
  #data: Uint8Array | undefined;
  #envelope: Mail["envelope"] | undefined;

  constructor({ subject, seq, data, storedAt, ack }: Delivered) {
    const place = subject.startsWith(DUE)
      ? { ref: refOfSubject(subject), lane: "due" as const }
      : parseMailSubject(subject);
    this.ref = place.ref;
    this.lane = place.lane;
    this.seq = seq;
    this.size = data.length;
    this.storedAt = storedAt;
    this.ack = ack;
    this.#data = data;
  }

  get envelope(): Mail["envelope"] {
    if (this.#envelope === undefined) {
      this.#envelope = envelopeOf(this.lane, this.seq, this.#data);
      this.#data = undefined;
    }
    return this.#envelope;
  }
}

/** What is not an envelope becomes one that no protocol knows, and so a dead letter with its text (R2). */
function envelopeOf(lane: Mail["lane"], seq: number, data?: Uint8Array): Mail["envelope"] {
  const text = decoder.decode(data);
  const body = parse(text) ?? { id: `malformed:${seq}`, type: "malformed", payload: text };
  return lane === "due" ? { due: body as Due } : (body as Envelope);
}

function parse(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && "id" in value ? value : undefined;
  } catch {
    return undefined;
  }
}
