/**
 * What one activation holds and has not handled.
 *
 * Invariants:
 * I1 Inside a lane, mail leaves in the order of its sequence, whatever order (re)deliveries came in (L1, R4).
 * I2 A message is held once: a redelivery replaces the handle for its acknowledgement, and keeps its attempts (L2).
 * I3 Control goes first, then due reminders, user mail and asks side by side, then background. Before all of them
 *    goes the runtime's own mail, one message at a time: it may change what else is taken.
 * I5 A lane that the actor's standing closes keeps its mail, in order; what is held there does not wake the actor.
 * I4 The number of asks is bounded, and so are the bodies of mail held; of the rest only sequences are (L4, R7).
 */
import type { AskRequest } from "../protocols/envelope.ts";
import type { ErrorCode } from "../protocols/errors.ts";
import type { AskDef } from "../protocols/protocol.ts";
import type { BodyBudget } from "./body-budget.ts";
import { Lane, type MailItem } from "./lane.ts";
import type { Mail, MailRead } from "./transport.ts";

export type { MailItem } from "./lane.ts";

export interface AskItem {
  readonly type: "ask";
  readonly request: AskRequest;
  readonly def: AskDef;
  readonly input: unknown;
  /** Milliseconds since the epoch. */
  readonly receivedAt: number;
  /** Answers with an encoded `AskReply`. */
  respond: (answer: Uint8Array) => void;
  /** Told when it is answered with an error for good. */
  refused?: (code: ErrorCode) => void;
}

export type Item = MailItem | AskItem;

/** The name of the message that an item holds. */
export function messageOf(item: Item): string {
  if (item.type === "ask") return item.request.type;
  const { envelope } = item.mail;
  return "due" in envelope ? envelope.due.type : envelope.type;
}

const ORDER = ["system", "control", "due", "user", "background"] as const;
export type LaneName = (typeof ORDER)[number];
/** Asks one activation holds (R7). */
export const ASK_CAPACITY = 1_000;
const EVERY_LANE: ReadonlySet<LaneName> = new Set(ORDER);

/** A lane whose bodies are to be read, and the sequences to read. */
export interface Wanted {
  readonly lane: LaneName;
  readonly seqs: readonly number[];
}

/** What waits, for whoever asks why. */
export interface InboxView {
  readonly depths: Readonly<Record<LaneName | "asks", number>>;
  /** When the oldest that waits was sent or received (ms since the epoch), of those whose bodies are held. */
  readonly oldestAt: number | undefined;
  /** The mail that is tried again first, if one was tried before. */
  readonly retry: { readonly at: number; readonly attempts: number } | undefined;
  /** Messages of lanes whose next body must be read from the broker first. */
  readonly unread: number;
}

/** Lets an ask among `held` that was sent before under the same id answer `item`, too. */
export function joinAsk(held: Iterable<Item>, item: AskItem): boolean {
  for (const twin of held) {
    if (twin.type !== "ask" || twin.request.id !== item.request.id) continue;
    const { respond } = twin;
    twin.respond = (answer) => {
      respond(answer);
      item.respond(answer);
    };
    return true;
  }
  return false;
}

export class Inbox {
  readonly #lanes = new Map<LaneName, Lane>();
  readonly #budget: BodyBudget;
  readonly #askCapacity: number;
  #asks: AskItem[] = [];
  #bytes = 0;

  constructor(askCapacity: number, budget: BodyBudget) {
    this.#askCapacity = askCapacity;
    this.#budget = budget;
  }

  get size(): number {
    let size = this.#asks.length;
    for (const lane of this.#lanes.values()) size += lane.size;
    return size;
  }

  /** Messages of which only the sequence is held. */
  get stubs(): number {
    let stubs = 0;
    for (const lane of this.#lanes.values()) stubs += lane.stubs;
    return stubs;
  }

  /** False when the bound is reached (I4). */
  pushAsk(item: AskItem): boolean {
    if (this.#asks.length >= this.#askCapacity) return false;
    this.#asks.push(item);
    return true;
  }

  /** Whether the ask waits here already; then its answer goes to this sending of it, too. */
  joins(item: AskItem): boolean {
    return joinAsk(this.#asks, item);
  }

  /** False when it was held already (I2). */
  pushMail(mail: Mail): boolean {
    const isNew = this.#lane(mail.lane).push(mail, !this.#budget.isSpent);
    this.#account();
    return isNew;
  }

  /** Gives items back that were taken and not handled; they will come first again. */
  putBack(items: Iterable<Item>): void {
    const asks: AskItem[] = [];
    for (const item of items) {
      if (item.type === "ask") asks.push(item);
      else this.#lane(item.mail.lane).putBack(item);
    }
    if (asks.length > 0) this.#asks = [...asks, ...this.#asks];
    this.#account();
  }

  /** The first of the `opened` lanes that runs low on bodies and has more to read. */
  wanted(opened: ReadonlySet<LaneName> = EVERY_LANE): Wanted | undefined {
    for (const name of ORDER) {
      if (name !== "system" && !opened.has(name)) continue;
      const seqs = this.#lanes.get(name)?.wanted() ?? [];
      if (seqs.length > 0) return { lane: name, seqs };
    }
    return undefined;
  }

  takeIn(lane: LaneName, read: MailRead): void {
    this.#lanes.get(lane)?.takeIn(read);
    this.#account();
  }

  /** Forgets a message that cannot be read. */
  dropStub(lane: LaneName, seq: number): void {
    this.#lanes.get(lane)?.dropStub(seq);
  }

  #lane(name: LaneName): Lane {
    let lane = this.#lanes.get(name);
    if (!lane) {
      lane = new Lane();
      this.#lanes.set(name, lane);
    }
    return lane;
  }

  #account(): void {
    let bytes = 0;
    for (const lane of this.#lanes.values()) bytes += lane.bytes;
    this.#budget.change(bytes - this.#bytes);
    this.#bytes = bytes;
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
    if (taken.length === 0) this.#takeOpened(limit, now, ready, opened, taken);
    this.#account();
    return taken;
  }

  #takeOpened(
    limit: number,
    now: number,
    ready: (ask: AskItem) => boolean,
    opened: ReadonlySet<LaneName>,
    taken: Item[],
  ): void {
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
    const lane = this.#lanes.get(name);
    if (!lane || taken.length >= limit) return;
    taken.push(...lane.take(limit - taken.length, now));
  }

  /**
   * When the earliest held-back mail of the `opened` lanes may be handled; infinite when its body must be read first,
   * undefined when none waits (I5).
   */
  nextAt(opened: ReadonlySet<LaneName> = EVERY_LANE): number | undefined {
    let next: number | undefined;
    for (const lane of opened) {
      const held = this.#lanes.get(lane);
      if (!held || held.size === 0) continue;
      const at = held.head?.notBefore ?? Number.POSITIVE_INFINITY;
      if (next === undefined || at < next) next = at;
    }
    return next;
  }

  /** The first ask that waits. */
  get firstAsk(): AskItem | undefined {
    return this.#asks[0];
  }

  look(): InboxView {
    const heads = [...this.#lanes.values()].flatMap(({ head }) => head ?? []);
    const times = heads.map(({ mail }) => mail.storedAt);
    if (this.#asks[0]) times.push(this.#asks[0].receivedAt);
    const tried = heads.filter(({ attempts }) => attempts > 0);
    const next = tried.toSorted((a, b) => a.notBefore - b.notBefore)[0];
    const depth = (lane: LaneName) => this.#lanes.get(lane)?.size ?? 0;
    return {
      depths: {
        system: depth("system"),
        control: depth("control"),
        due: depth("due"),
        user: depth("user"),
        background: depth("background"),
        asks: this.#asks.length,
      },
      oldestAt: times.length === 0 ? undefined : Math.min(...times),
      retry: next && { at: next.notBefore, attempts: next.attempts },
      unread: [...this.#lanes.values()].reduce((sum, lane) => sum + (lane.head ? 0 : lane.size), 0),
    };
  }

  /** Removes and returns asks that satisfy `test`. */
  removeAsks(test: (ask: AskItem) => boolean): AskItem[] {
    if (!this.#asks.some(test)) return [];
    const removed = this.#asks.filter(test);
    this.#asks = this.#asks.filter((ask) => !removed.includes(ask));
    return removed;
  }

  /** Forgets all mail; the broker still has it. */
  dropMail(): void {
    for (const lane of this.#lanes.values()) lane.clear();
    this.#account();
  }
}
