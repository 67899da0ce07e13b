/** Dead letters in their stream: read newest first, sent again, removed. */
import { type DeadLetter, deadLetterSchema } from "../../protocols/records.ts";
import { STREAMS, subjects } from "../../protocols/subjects.ts";
import { type DeadLetters, takesLetter } from "../dead-letters.ts";
import { deadLettersOf, type LetterStore, type StoredLetter } from "../letter-replay.ts";
import type { Buckets, Mailboxes } from "../transport.ts";
import { type DirectBatchParts, readDirectBatch } from "./direct-batch.ts";
import { fromNats, isNotFound } from "./errors.ts";

/** Sequences looked through at a time, going back; more when a stretch held nothing of the tenant. */
const FIRST_STRETCH = 256;
const LONGEST_STRETCH = 16_384;
const decoder = new TextDecoder();

interface Collaborators extends DirectBatchParts {
  readonly mailboxes: Mailboxes;
  readonly buckets: Buckets;
}

export function natsDeadLetters(parts: Collaborators): DeadLetters {
  return deadLettersOf(letterStore(parts), parts);
}

function letterStore(parts: DirectBatchParts): LetterStore {
  const { jsm } = parts;
  return {
    list: (query) => list(parts, query),
    async get(id) {
      const seq = seqOf(id);
      if (seq === undefined) return undefined;
      try {
        const found = await jsm.streams.getMessage(STREAMS.deadLetters, { seq });
        return found ? toStored(seq, found.data) : undefined;
      } catch (thrown) {
        if (isNotFound(thrown)) return undefined;
        throw fromNats(thrown);
      }
    },
    async remove(id) {
      const seq = seqOf(id);
      try {
        return seq !== undefined && (await jsm.streams.deleteMessage(STREAMS.deadLetters, seq));
      } catch (thrown) {
        if (isNotFound(thrown)) return false;
        throw fromNats(thrown);
      }
    },
    async purge(of) {
      try {
        const filter = subjects.deadLettersOf(of);
        return (await jsm.streams.purge(STREAMS.deadLetters, { filter })).purged;
      } catch (thrown) {
        throw fromNats(thrown);
      }
    },
  };
}

async function list(
  parts: DirectBatchParts,
  query: Parameters<DeadLetters["list"]>[0],
): ReturnType<DeadLetters["list"]> {
  const letters: DeadLetter[] = [];
  try {
    const { state } = await parts.jsm.streams.info(STREAMS.deadLetters);
    const after = query.after === undefined ? undefined : seqOf(query.after);
    let end = Math.min(state.last_seq + 1, after ?? Number.POSITIVE_INFINITY);
    // A stream that never had a message says that its first is 0.
    const first = Math.max(1, state.first_seq);
    let stretch = FIRST_STRETCH;
    // One more than asked for tells whether there is a next page.
    while (end > first && letters.length <= query.limit) {
      const start = Math.max(first, end - stretch);
      const found = await readStretch(parts, subjects.deadLettersOf(query), start, end);
      letters.push(...found.toReversed().filter((letter) => takesLetter(query, letter)));
      if (found.length === 0) stretch = Math.min(LONGEST_STRETCH, stretch * 2);
      end = start;
    }
  } catch (thrown) {
    throw fromNats(thrown);
  }
  const page = letters.slice(0, query.limit);
  const next = letters.length > query.limit ? (page.at(-1)?.id ?? null) : null;
  return { letters: page, next };
}

/** Letters with a sequence from `start` to before `end`, oldest first. */
async function readStretch(
  parts: DirectBatchParts,
  filter: string,
  start: number,
  end: number,
): Promise<DeadLetter[]> {
  const found: DeadLetter[] = [];
  for (let seq = start; seq < end; ) {
    const query = { seq, next_by_subj: filter, batch: FIRST_STRETCH };
    const batch = await readDirectBatch(parts, STREAMS.deadLetters, query);
    const inside = batch.filter((message) => message.seq < end);
    found.push(...inside.flatMap(({ seq: at, data }) => toStored(at, data)?.letter ?? []));
    const last = batch.at(-1);
    if (!last) break; // Nothing of the filter from here on.
    seq = last.seq + 1;
  }
  return found;
}

/** What cannot be read was not written by a node; it is left alone. */
function toStored(seq: number, data: Uint8Array): StoredLetter | undefined {
  try {
    const letter = deadLetterSchema.parse(JSON.parse(decoder.decode(data)));
    return { letter: { ...letter, id: `dl-${seq}` }, written: letter.id };
  } catch {
    return undefined;
  }
}

function seqOf(id: string): number | undefined {
  const match = /^dl-([1-9]\d{0,14})$/.exec(id);
  return match ? Number(match[1]) : undefined;
}
