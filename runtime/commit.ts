/**
 * One commit, until its fate is known. An answer may be lost (the server died, an election ran): then the
 * record itself says whether the write happened, for it names its writer and commit number. So a commit is
 * never applied twice and never thought lost when it was not (R3).
 */
import { asBerthError, BerthError } from "../protocols/errors.ts";
import type { ActorRef } from "../protocols/ids.ts";
import type { Clock } from "./clock.ts";
import { decodeRecord } from "./record.ts";
import type { Records } from "./transport.ts";

export interface CommitRequest {
  readonly ref: ActorRef;
  readonly data: Uint8Array;
  readonly expected: number;
  readonly journaled: boolean;
  readonly pending: boolean;
  readonly writer: string;
  readonly commit: number;
}

const FIRST_PAUSE_MS = 20;
const MAX_PAUSE_MS = 1_000;

/** Resolves with the revision. Rejects with `record.conflict` when another wrote, `lease.lost` when `signal` aborts. */
export async function commitRecord(
  parts: { readonly records: Records; readonly clock: Clock; readonly signal: AbortSignal },
  request: CommitRequest,
): Promise<number> {
  const { records, clock, signal } = parts;
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(MAX_PAUSE_MS, pause * 2)) {
    try {
      return await records.commit(request.ref, request.data, request);
    } catch (thrown) {
      const error = asBerthError(thrown);
      const known = error.code === "record.conflict" && pause === FIRST_PAUSE_MS;
      if (known || error.retry === "never") throw error;
    }
    const written = await findOwn(records, request);
    if (written === "conflict") throw new BerthError("record.conflict");
    if (typeof written === "number") return written;
    if (signal.aborted) throw new BerthError("lease.lost");
    await clock.sleep(pause, signal);
  }
}

/** The revision, if our write is the newest; `absent` if the old one still is; `unknown` if the broker does not say. */
async function findOwn(
  records: Records,
  { ref, journaled, writer, commit, expected }: CommitRequest,
): Promise<number | "conflict" | "absent" | "unknown"> {
  try {
    const found = await records.load(ref, journaled);
    if ((found?.revision ?? 0) === expected) return "absent";
    if (!found) return "conflict";
    const record = decodeRecord(found.data);
    return record.writer === writer && record.commit === commit ? found.revision : "conflict";
  } catch {
    return "unknown";
  }
}
