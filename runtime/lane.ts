/**
 * One lane of an inbox: its next messages, and of those behind them no more than their sequences.
 *
 * Invariants:
 * L1 Mail leaves in the order of its sequence, whatever order (re)deliveries came in (R4).
 * L2 A message is held once: a redelivery replaces the handle for its acknowledgement, and keeps its attempts.
 * L3 Every message whose body is held comes before every one that is held as a sequence alone. What is taken is
 *    therefore always the lane's next, and a hole is never stepped over.
 *    What was taken may come back, so a sequence alone is kept only of what comes after all that was ever taken.
 * L4 Bodies are bounded in number and bytes (R7); what does not fit is read again when its turn comes near.
 */
import type { Mail, MailRead } from "./transport.ts";

export interface MailItem {
  readonly type: "mail";
  mail: Mail;
  attempts: number;
  /** Not handled before this time (ms): its backoff. Holds its lane, so that order is kept. */
  notBefore: number;
}

/** Bodies one lane holds. Two batches: one is handled while the next is read. */
const MAX_BODIES = 128;
const MAX_BODY_BYTES = 1024 ** 2;
/** Sequences that went before are cut off when there are so many: an array's front is dear to move. */
const CUT_AT = 4_096;

export class Lane {
  #items: MailItem[] = [];
  #bytes = 0;
  /** Ascending; what stands before `#first` is over. */
  #stubs: number[] = [];
  #first = 0;
  #takenTo = 0;

  get size(): number {
    return this.#items.length + this.stubs;
  }

  get stubs(): number {
    return this.#stubs.length - this.#first;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get head(): MailItem | undefined {
    return this.#items[0];
  }

  /** False when it was held already (L2). `keep` says whether its body may be kept if there is room (L4). */
  push(mail: Mail, keep: boolean): boolean {
    const { seq } = mail;
    const firstStub = this.#stubs[this.#first];
    if (firstStub !== undefined && seq >= firstStub) return this.#addStub(seq);
    const last = this.#items.at(-1);
    const isNewest = seq > this.#takenTo && (!last || last.mail.seq < seq);
    if (firstStub === undefined && isNewest && !(keep && this.#hasRoom)) return this.#addStub(seq);
    return this.#insert({ type: "mail", mail, attempts: 0, notBefore: 0 }, "newer");
  }

  /** Gives an item back that was taken and not handled. */
  putBack(item: MailItem): void {
    this.#insert(item, "older");
  }

  /** Up to `limit` messages that may be handled now, in order. */
  take(limit: number, now: number): MailItem[] {
    let count = 0;
    for (const { mail, notBefore } of this.#items) {
      if (count >= limit || notBefore > now) break;
      this.#bytes -= mail.size;
      this.#takenTo = Math.max(this.#takenTo, mail.seq);
      count += 1;
    }
    return count === 0 ? [] : this.#items.splice(0, count);
  }

  /** The sequences whose bodies are to be read now, in order; none while there are bodies enough. */
  wanted(): number[] {
    const room = MAX_BODIES - this.#items.length;
    if (this.stubs === 0 || room < MAX_BODIES / 2) return [];
    if (this.#items.length > 0 && this.#bytes > MAX_BODY_BYTES / 2) return [];
    return this.#stubs.slice(this.#first, this.#first + room);
  }

  /** Takes in what was read, up to the first sequence that could not be told (L3). */
  takeIn({ found, gone }: MailRead): void {
    const bodies = new Map(found.map((mail) => [mail.seq, mail]));
    const away = new Set(gone);
    for (;;) {
      const seq = this.#stubs[this.#first];
      if (seq === undefined) break;
      const mail = bodies.get(seq);
      if (!mail && !away.has(seq)) break;
      if (mail && this.#items.length > 0 && !this.#hasRoom) break;
      this.#first += 1;
      if (mail) this.#insert({ type: "mail", mail, attempts: 0, notBefore: 0 }, "newer");
    }
    this.#cut();
  }

  /** Forgets a message that cannot be read. */
  dropStub(seq: number): void {
    if (this.#stubs[this.#first] === seq) this.#first += 1;
  }

  clear(): void {
    this.#items = [];
    this.#bytes = 0;
    this.#stubs = [];
    this.#first = 0;
  }

  get #hasRoom(): boolean {
    return this.#items.length < MAX_BODIES && this.#bytes < MAX_BODY_BYTES;
  }

  /** L1, L2. `age` says whose handle is the fresher one. */
  #insert(item: MailItem, age: "newer" | "older"): boolean {
    const at = lowerBound(this.#items.length, (i) => this.#items[i]?.mail.seq ?? 0, item.mail.seq);
    const held = this.#items[at];
    if (held?.mail.seq === item.mail.seq) {
      if (age === "newer") held.mail = item.mail;
      held.attempts = Math.max(held.attempts, item.attempts);
      held.notBefore = Math.max(held.notBefore, item.notBefore);
      return false;
    }
    this.#items.splice(at, 0, item);
    this.#bytes += item.mail.size;
    return true;
  }

  #addStub(seq: number): boolean {
    const last = this.#stubs.at(-1);
    if (last === undefined || last < seq || this.stubs === 0) {
      this.#stubs.push(seq);
      return true;
    }
    const at = this.#first + lowerBound(this.stubs, (i) => this.#stubs[this.#first + i] ?? 0, seq);
    if (this.#stubs[at] === seq) return false;
    this.#stubs.splice(at, 0, seq);
    return true;
  }

  #cut(): void {
    if (this.#first < CUT_AT && this.stubs > 0) return;
    this.#stubs = this.#stubs.slice(this.#first);
    this.#first = 0;
  }
}

/** The first of `length` ascending values that is not below `value`. */
function lowerBound(length: number, at: (i: number) => number, value: number): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (at(middle) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
