/**
 * What one activation holds and has not handled.
 *
 * Invariants:
 * I1 Inside a lane, mail leaves in the order of its sequence, whatever order (re)deliveries came in (R4).
 * I2 A message is held once: a redelivery replaces the handle for its acknowledgement.
 * I3 Control goes first, then due reminders, user mail and asks as they came, then background.
 * I4 The number of asks is bounded (R7); mail is bounded by the broker, which stops delivering.
 */
import type { AskReply, AskRequest } from "../protocols/envelope.ts";
import type { AskDef } from "../protocols/protocol.ts";
import type { Mail } from "./transport.ts";

export interface MailItem {
  readonly type: "mail";
  mail: Mail;
  attempts: number;
  /** Not handled before this time (ms): its backoff. Holds its lane, so that order is kept. */
  notBefore: number;
}

export interface AskItem {
  readonly type: "ask";
  readonly request: AskRequest;
  readonly def: AskDef;
  readonly input: unknown;
  readonly respond: (reply: AskReply) => void;
}

export type Item = MailItem | AskItem;

const ORDER = ["control", "due", "user", "background"] as const;
type LaneName = (typeof ORDER)[number];

export class Inbox {
  readonly #lanes: Record<LaneName, MailItem[]> = {
    control: [],
    due: [],
    user: [],
    background: [],
  };
  #asks: AskItem[] = [];
  readonly #askCapacity: number;

  constructor(askCapacity: number) {
    this.#askCapacity = askCapacity;
  }

  get size(): number {
    return this.#asks.length + ORDER.reduce((sum, lane) => sum + this.#lanes[lane].length, 0);
  }

  /** False when the bound is reached (I4). */
  pushAsk(item: AskItem): boolean {
    if (this.#asks.length >= this.#askCapacity) return false;
    this.#asks.push(item);
    return true;
  }

  pushMail(mail: Mail): void {
    const lane = this.#lanes[mail.lane];
    const last = lane.at(-1);
    const item: MailItem = { type: "mail", mail, attempts: 0, notBefore: 0 };
    if (!last || last.mail.seq < mail.seq) {
      lane.push(item);
      return;
    }
    const at = lane.findIndex((held) => held.mail.seq >= mail.seq);
    const held = lane[at];
    if (held?.mail.seq === mail.seq) held.mail = mail;
    else lane.splice(at, 0, item);
  }

  /** Gives items back that were taken and not handled; they will come first again. */
  putBack(items: readonly Item[]): void {
    const asks: AskItem[] = [];
    for (const item of items.toReversed()) {
      if (item.type === "ask") asks.unshift(item);
      else if (this.#lanes[item.mail.lane][0]?.mail.seq !== item.mail.seq) {
        this.#lanes[item.mail.lane].unshift(item);
      }
    }
    this.#asks = [...asks, ...this.#asks];
  }

  /** Up to `limit` items that may be handled now. `ready` holds asks back that must wait for earlier mail (R4). */
  take(limit: number, now: number, ready: (ask: AskItem) => boolean): Item[] {
    const taken: Item[] = [];
    for (const lane of ["control", "due", "user"] as const) this.#takeLane(lane, limit, now, taken);
    if (taken.length < limit) {
      const later: AskItem[] = [];
      for (const ask of this.#asks) {
        if (taken.length < limit && ready(ask)) taken.push(ask);
        else later.push(ask);
      }
      this.#asks = later;
    }
    this.#takeLane("background", limit, now, taken);
    return taken;
  }

  #takeLane(name: LaneName, limit: number, now: number, taken: Item[]): void {
    const lane = this.#lanes[name];
    let count = 0;
    while (
      taken.length + count < limit &&
      (lane[count]?.notBefore ?? Number.POSITIVE_INFINITY) <= now
    ) {
      count += 1;
    }
    if (count > 0) taken.push(...lane.splice(0, count));
  }

  /** When the earliest held-back mail may be handled; undefined when none waits. */
  nextAt(): number | undefined {
    const times = ORDER.map((lane) => this.#lanes[lane][0]?.notBefore).filter(
      (t) => t !== undefined,
    );
    return times.length === 0 ? undefined : Math.min(...times);
  }

  /** Removes and returns asks that satisfy `test`. */
  removeAsks(test: (ask: AskItem) => boolean): AskItem[] {
    const removed = this.#asks.filter(test);
    this.#asks = this.#asks.filter((ask) => !test(ask));
    return removed;
  }

  /** Tells the broker that the mail is still held. */
  touch(): void {
    for (const lane of ORDER) for (const item of this.#lanes[lane]) item.mail.touch();
  }

  /** Forgets all mail; the broker still has it. */
  dropMail(): void {
    for (const lane of ORDER) this.#lanes[lane].length = 0;
  }
}
