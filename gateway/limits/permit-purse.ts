/**
 * What one gateway has in hand of one user's permits. Times are those of one monotonic clock.
 *
 * Invariants:
 * U1 A permit is used once, while its block is good: never longer than the actor means, for that is counted from before it was asked.
 * U2 A block that was said to have ended is not used again: what it left is somebody else's from then on.
 */
import { type EndedBlock, MAX_ENDED_BLOCKS, type User } from "../../protocols/actors/user.ts";
import type { OutputOf } from "../../protocols/protocol.ts";

/** What the caller is told of its limit. */
export interface PermitStanding {
  readonly limit: number;
  readonly remaining: number;
  /** Until more remain. */
  readonly resetMs: number;
}

export type Given = OutputOf<(typeof User)["messages"]["permits"]>;

interface Block {
  /** Null: of our own. */
  readonly name: number | null;
  readonly count: number;
  readonly until: number;
  used: number;
  lastUse: number;
}

/** A block with less than this share of it left is worth another ask; one with fewer than this is not, ahead of need. */
const LOW_SHARE = 4;

export class PermitPurse {
  limit: number;
  /** Oldest first. */
  readonly #blocks: Block[] = [];
  /** Not said yet. */
  readonly #ended = new Set<Block>();
  /** That the actor has not given out yet, as far as is known. */
  #remaining = 0;
  #freesAt = 0;
  /** The actor has nothing before. */
  #emptyUntil = 0;
  #windowMs = Number.POSITIVE_INFINITY;

  constructor(limit: number) {
    this.limit = limit;
  }

  /** Takes one permit; undefined when none is in hand. */
  take(now: number): PermitStanding | undefined {
    this.#endBlocks(now);
    const [block] = this.#blocks;
    if (!block) return undefined;
    block.used += 1;
    block.lastUse = now;
    const remaining = this.#left() + this.#remaining;
    const resetMs = Math.min(this.#windowMs, this.#freeAgainAt(now) - now);
    this.#endBlocks(now);
    return { limit: this.limit, remaining, resetMs };
  }

  /** For so long no ask brings a permit, as far as is known. */
  emptyForMs(now: number): number {
    this.#endBlocks(now);
    const hasUnused = [...this.#ended].some(
      ({ count, name, used }) => name !== null && used < count,
    );
    if (this.#blocks.length > 0 || hasUnused) return 0;
    return Math.max(0, Math.min(this.#emptyUntil, this.#ownFreeAt()) - now);
  }

  /** Whether to ask ahead of need. */
  get isLow(): boolean {
    const last = this.#blocks.at(-1);
    return last !== undefined && this.#remaining > 0 && isLow(last, this.#blocks.length);
  }

  /** What is to be said with the next ask (U2). Say `heard` when it was answered. */
  report(now: number): { readonly ended: EndedBlock[]; readonly heard: () => void } {
    this.#endBlocks(now);
    const said = [...this.#ended];
    const ended = said.map(({ lastUse, name, used }) => ({
      block: name,
      used,
      // In whole milliseconds, for what reads it: rather too late than too early.
      ago_ms: Math.floor(now - lastUse),
    }));
    const heard = () => {
      for (const block of said) this.#ended.delete(block);
    };
    return { ended, heard };
  }

  /** What an ask brought that was made at `askedAt` (U1). */
  add(given: Given, askedAt: number): void {
    const { frees_ms: freesMs = given.reset_ms, window_ms: windowMs = Number.POSITIVE_INFINITY } =
      given;
    this.limit = given.limit;
    this.#remaining = given.remaining;
    this.#freesAt = askedAt + freesMs;
    this.#windowMs = windowMs;
    if (given.remaining === 0) this.#emptyUntil = this.#freesAt;
    if (given.granted === 0) return;
    const until = askedAt + given.reset_ms;
    this.#put({ name: given.window, count: given.granted, until, lastUse: askedAt });
  }

  /** Lets so many through though nobody gave them. */
  addOwn(count: number, now: number, goodMs: number): void {
    this.#remaining = 0;
    this.#emptyUntil = 0;
    this.#freesAt = now + goodMs;
    this.#put({ name: null, count, until: now + goodMs, lastUse: now });
  }

  /** Nothing is lost if it is forgotten. */
  isSpent(now: number): boolean {
    this.#endBlocks(now);
    return this.#blocks.length === 0 && this.#emptyUntil <= now;
  }

  has(now: number): boolean {
    this.#endBlocks(now);
    return this.#blocks.length > 0;
  }

  #put(block: Omit<Block, "used">): void {
    this.#blocks.push({ ...block, used: 0 });
  }

  #endBlocks(now: number): void {
    for (const block of [...this.#blocks]) {
      if (block.used < block.count && now < block.until) continue;
      this.#blocks.splice(this.#blocks.indexOf(block), 1);
      if (block.name !== null || block.used > 0) this.#ended.add(block);
    }
    // What is never said counts in full until nobody could have used it any more.
    for (const block of this.#ended) {
      if (this.#ended.size <= MAX_ENDED_BLOCKS) return;
      this.#ended.delete(block);
    }
  }

  #left(): number {
    return this.#blocks.reduce((sum, { count, used }) => sum + count - used, 0);
  }

  #freeAgainAt(now: number): number {
    const own = this.#ownFreeAt();
    return this.#freesAt > now ? Math.min(this.#freesAt, own) : own;
  }

  /** When what was used here is free again, once it is said. */
  #ownFreeAt(): number {
    const uses = [...this.#ended, ...this.#blocks].filter(({ used }) => used > 0);
    return Math.min(...uses.map(({ lastUse }) => lastUse + this.#windowMs));
  }
}

function isLow({ count, used }: Block, blocks: number): boolean {
  return blocks === 1 && count >= LOW_SHARE && (count - used) * LOW_SHARE < count;
}
