/**
 * Dead letters sent again and purged, over any store of them.
 *
 * Invariants:
 * D1 A letter is taken away only after its message is in the mailbox: a replay that is cut short loses nothing (R2).
 * D2 Every replay of one letter is one message: its receiver remembers the letter as it remembers senders, so the copy
 *    that a second try stores is dropped however late it comes (R3). A first replay leaves a mark, by which a second
 *    one knows itself: then a receiver that may have forgotten says so with a new letter instead of guessing.
 */
import type { Envelope } from "../protocols/envelope.ts";
import { asBerthError, BerthError } from "../protocols/errors.ts";
import type { DeadLetter } from "../protocols/records.ts";
import type { Clock } from "./clock.ts";
import {
  type DeadLetters,
  type LetterFilter,
  type Replayed,
  replayEnvelope,
  takesLetter,
} from "./dead-letters.ts";
import type { Buckets, Mailboxes } from "./transport.ts";

export interface StoredLetter {
  readonly letter: DeadLetter;
  /** The id that it was written under: the same if it was stored twice. */
  readonly written: string;
}

/** What a broker offers. */
export interface LetterStore {
  list: DeadLetters["list"];
  get(id: string): Promise<StoredLetter | undefined>;
  /** False when it is not there. */
  remove(id: string): Promise<boolean>;
  /** Drops all of an actor, a kind, a tenant. */
  purge(filter: Omit<LetterFilter, "code">): Promise<number>;
}

interface Collaborators {
  readonly mailboxes: Pick<Mailboxes, "send">;
  readonly buckets: Pick<Buckets, "get" | "put">;
  readonly clock: Clock;
}

const PAGE = 256;
/** One call replays so many letters at most; the rest is replayed by the next. */
const MAX_REPLAYED = 10_000;
/** As long as a letter itself is kept. */
const MARK_TTL_MS = 30 * 86_400_000;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function deadLettersOf(store: LetterStore, parts: Collaborators): DeadLetters {
  return {
    list: (query) => store.list(query),
    async get(id) {
      return (await store.get(id))?.letter;
    },
    replay: (id) => replay(store, parts, id),
    replayAll: (filter) => replayAll(store, parts, filter),
    async purge({ id, ...filter }) {
      if (id !== undefined) return (await store.remove(id)) ? 1 : 0;
      return filter.code === undefined ? store.purge(filter) : purgeOneByOne(store, filter);
    },
  };
}

/** D1. */
async function replay(store: LetterStore, parts: Collaborators, id: string): Promise<void> {
  const found = await store.get(id);
  if (!found) throw new BerthError("request.not_found", `there is no dead letter "${id}"`);
  const { letter, written } = found;
  const mark = await firstReplay(parts, written);
  const envelope: Envelope = {
    ...replayEnvelope(letter, `replay:${written}`, mark.at),
    letter: written,
    ...(mark.isMine ? {} : { again: true }),
  };
  await parts.mailboxes.send(letter.actor, letter.lane, envelope);
  await store.remove(id);
}

/** D2: when the letter was first replayed, and whether that is now. */
async function firstReplay(
  { buckets, clock }: Collaborators,
  written: string,
): Promise<{ readonly at: number; readonly isMine: boolean }> {
  const key = `letter.${Buffer.from(written).toString("base64url")}`;
  const at = clock.now();
  try {
    const value = encoder.encode(JSON.stringify({ at }));
    await buckets.put("idempotency", key, value, { expected: 0, ttlMs: MARK_TTL_MS });
    return { at, isMine: true };
  } catch (thrown) {
    if (asBerthError(thrown).code !== "record.conflict") throw thrown;
  }
  const found = await buckets.get("idempotency", key);
  const first: unknown = found?.value && JSON.parse(decoder.decode(found.value));
  const known = typeof first === "object" && first !== null && "at" in first ? first.at : at;
  return { at: Number(known), isMine: false };
}

/** Oldest first, so that messages to one actor keep their order (R4). */
async function replayAll(
  store: LetterStore,
  parts: Collaborators,
  filter: LetterFilter,
): Promise<Replayed> {
  const ids = await idsOf(store, filter, MAX_REPLAYED);
  const failed: { id: string; code: string; message: string }[] = [];
  let replayed = 0;
  for (const id of ids.toReversed()) {
    try {
      await replay(store, parts, id);
      replayed += 1;
    } catch (thrown) {
      const { code, message } = asBerthError(thrown);
      if (code === "broker.unavailable") throw thrown;
      // Whoever took it away meanwhile has replayed or purged it.
      if (code !== "request.not_found") failed.push({ id, code, message });
    }
  }
  return { replayed, failed };
}

async function purgeOneByOne(store: LetterStore, filter: LetterFilter): Promise<number> {
  let purged = 0;
  for (const id of await idsOf(store, filter, Number.POSITIVE_INFINITY)) {
    if (await store.remove(id)) purged += 1;
  }
  return purged;
}

/** Newest first, of the letters that are there now. */
async function idsOf(store: LetterStore, filter: LetterFilter, most: number): Promise<string[]> {
  const ids: string[] = [];
  let after: string | null | undefined;
  do {
    const page = await store.list({ ...filter, ...(after ? { after } : {}), limit: PAGE });
    ids.push(...page.letters.filter((letter) => takesLetter(filter, letter)).map(({ id }) => id));
    after = page.next;
  } while (after && ids.length < most);
  return ids.slice(0, most);
}
