/**
 * What one activation holds and has not handled.
 *
 * Invariants:
 * I1 Inside a lane, mail leaves in the order of its sequence, whatever order (re)deliveries came in (R4).
 * I2 A message is held once: a redelivery replaces the handle for its acknowledgement, and keeps its attempts.
 * I3 Control goes first, then due reminders, user mail and asks side by side, then background. Before all of them
 *    goes the runtime's own mail, one message at a time: it may change what else is taken.
 * I5 A lane that the actor's standing closes keeps its mail, in order; what is held there does not wake the actor.
 * I4 The number of asks is bounded (R7); mail is bounded by the broker, which stops delivering.
 */
import type { AskRequest } from "../protocols/envelope.ts";
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
  /** Answers with an encoded `AskReply`. */
  readonly respond: (answer: Uint8Array) => void;
}

export type Item = MailItem | AskItem;

const ORDER = ["system", "control", "due", "user", "background"] as const;
export type LaneName = (typeof ORDER)[number];
const EVERY_LANE: ReadonlySet<LaneName> = new Set(ORDER);

export class Inbox {
  readonly #lanes: Record<LaneName, MailItem[]> = {
    system: [],
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
    let size = this.#asks.length;
    for (const lane of ORDER) size += this.#lanes[lane].length;
    return size;
  }

  /** False when the bound is reached (I4). */
  pushAsk(item: AskItem): boolean {
    if (this.#asks.length >= this.#askCapacity) return false;
    this.#asks.push(item);
    return true;
  }

  pushMail(mail: Mail): void {
    this.#insert({ type: "mail", mail, attempts: 0, notBefore: 0 }, "newer");
  }

  /** Gives items back that were taken and not handled; they will come first again. */
  putBack(items: Iterable<Item>): void {
    const asks: AskItem[] = [];
    for (const item of items) {
      if (item.type === "ask") asks.push(item);
      else this.#insert(item, "older");
    }
    if (asks.length > 0) this.#asks = [...asks, ...this.#asks];
  }

  /** Keeps the lane sorted and each message once (I1, I2). `age` says whose handle is the fresher one. */
  #insert(item: MailItem, age: "newer" | "older"): void {
    const lane = this.#lanes[item.mail.lane];
    const last = lane.at(-1);
    if (!last || last.mail.seq < item.mail.seq) {
      lane.push(item);
      return;
    }
    const at = lane.findIndex((held) => held.mail.seq >= item.mail.seq);
    const held = lane[at];
    if (held?.mail.seq !== item.mail.seq) {
      lane.splice(at, 0, item);
      return;
    }
    if (age === "newer") held.mail = item.mail;
    held.attempts = Math.max(held.attempts, item.attempts);
    held.notBefore = Math.max(held.notBefore, item.notBefore);
  }

  /**
   * Up to `limit` items that may be handled now, of the lanes that are `opened` (I5). `ready` holds asks back that
   * must wait for earlier mail (R4).
   */
  take(
    limit: number,
    now: number,
    ready: (ask: AskItem) => boolean,
    opened: ReadonlySet<LaneName> = EVERY_LANE,
  ): Item[] {
    const taken: Item[] = [];
    this.#takeLane("system", 1, now, taken);
    if (taken.length > 0) return taken;
    const take = (lane: LaneName, upTo: number) => {
      if (opened.has(lane)) this.#takeLane(lane, upTo, now, taken);
    };
    take("control", limit);
    take("due", limit);
    // Half of what is left is kept for asks that wait, so that a flood of mail does not starve them (I3).
    const left = limit - taken.length;
    const kept = left > 1 ? Math.min(this.#asks.length, Math.floor(left / 2)) : 0;
    take("user", limit - kept);
    if (this.#asks.length > 0 && taken.length < limit) this.#takeAsks(limit, ready, taken);
    take("background", limit);
    return taken;
  }

  #takeAsks(limit: number, ready: (ask: AskItem) => boolean, taken: Item[]): void {
    const later: AskItem[] = [];
    for (const ask of this.#asks) {
      if (taken.length < limit && ready(ask)) taken.push(ask);
      else later.push(ask);
    }
    this.#asks = later;
  }

  #takeLane(name: LaneName, limit: number, now: number, taken: Item[]): void {
    const lane = this.#lanes[name];
    if (lane.length === 0) return;
    let count = 0;
    while (
      taken.length + count < limit &&
      (lane[count]?.notBefore ?? Number.POSITIVE_INFINITY) <= now
    ) {
      count += 1;
    }
    if (count > 0) taken.push(...lane.splice(0, count));
  }

  /** When the earliest held-back mail of the `opened` lanes may be handled; undefined when none waits (I5). */
  nextAt(opened: ReadonlySet<LaneName> = EVERY_LANE): number | undefined {
    let next: number | undefined;
    for (const lane of opened) {
      const at = this.#lanes[lane][0]?.notBefore;
      if (at !== undefined && (next === undefined || at < next)) next = at;
    }
    return next;
  }

  /** Removes and returns asks that satisfy `test`. */
  removeAsks(test: (ask: AskItem) => boolean): AskItem[] {
    if (!this.#asks.some(test)) return [];
    const removed = this.#asks.filter(test);
    this.#asks = this.#asks.filter((ask) => !removed.includes(ask));
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
