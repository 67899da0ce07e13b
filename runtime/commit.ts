/**
 * One commit, until its fate is known. An answer may be lost (the server died, an election ran): then the
 * record itself says whether the write happened, for it names its writer and commit number. So a commit is
 * never applied twice and never thought lost when it was not (R3).
 */
import { asBerthError, BerthError } from "../protocols/errors.ts";
import type { ActorRef } from "../protocols/ids.ts";
import type { Clock } from "./clock.ts";
import { decodeRecord } from "./record.ts";
import type { OpenWork, Records } from "./transport.ts";

export interface CommitRequest {
  readonly ref: ActorRef;
  readonly data: Uint8Array;
  readonly expected: number;
  readonly journaled: boolean;
  readonly pending: OpenWork | false;
  readonly writer: string;
  readonly commit: number;
}

const FIRST_PAUSE_MS = 20;
const MAX_PAUSE_MS = 1_000;

/**
 * Resolves with the revision. Rejects with `record.conflict` when it is certain that another wrote instead,
 * with `ask.timeout` when it cannot be told any more whether this commit was stored: what waits for its
 * outcome must then not be sent again. Goes on until the broker answers or `signal` aborts.
 */
export async function commitRecord(
  parts: { readonly records: Records; readonly clock: Clock; readonly signal: AbortSignal },
  request: CommitRequest,
): Promise<number> {
  const { records, clock, signal } = parts;
  let cause: unknown;
  for (let pause = 0; !signal.aborted; pause = Math.min(MAX_PAUSE_MS, pause * 2)) {
    try {
      return await records.commit(request.ref, request.data, request);
    } catch (thrown) {
      const error = asBerthError(thrown);
      const first = pause === 0;
      if (error.retry === "never" || (first && error.code === "record.conflict")) throw error;
      cause = error;
    }
    const found = await findOwn(records, request);
    if (typeof found === "number") return found;
    if (found === "overwritten") break;
    pause = Math.max(pause, FIRST_PAUSE_MS);
    await clock.sleep(pause, signal);
  }
  if (cause === undefined) throw new BerthError("lease.lost");
  throw new BerthError("ask.timeout", "it cannot be told whether the turn was stored", { cause });
}

/** The revision if our write is the newest; `open` if the old one still is, or if the broker does not say. */
async function findOwn(
  records: Records,
  { ref, journaled, writer, commit, expected }: CommitRequest,
): Promise<number | "overwritten" | "open"> {
  try {
    const found = await records.load(ref, journaled);
    if ((found?.revision ?? 0) === expected) return "open";
    if (!found) return "overwritten";
    const record = decodeRecord(found.data);
    return record.writer === writer && record.commit === commit ? found.revision : "overwritten";
  } catch {
    return "open";
  }
}
