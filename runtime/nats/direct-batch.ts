/**
 * Batches of stored messages, from any copy of a stream. Invariants:
 * F1 The subscription of a batch ends with it, whatever ends it. The client's own iterator leaves it to a timer.
 * F2 A batch ends within its bound, and with the connection: what was due on one that broke never comes.
 * F3 There is no hole in what is returned: the broker names with each message the one that it sent before.
 */
import type { BatchCallback, JetStreamManager, StoredMsg } from "@nats-io/jetstream";
import { BerthError } from "../../protocols/errors.ts";
import type { Clock } from "../clock.ts";
import { fromNats, isNotFound } from "./errors.ts";
import type { InFlight } from "./in-flight.ts";

export interface DirectBatchParts {
  readonly jsm: JetStreamManager;
  readonly inFlight: InFlight;
  readonly clock: Clock;
}

export interface DirectBatchQuery {
  readonly seq: number;
  readonly next_by_subj: string;
  readonly batch: number;
}

/** The client has a bound of the same length, of which its documentation does not speak. */
const WITHIN_MS = 5_000;

/** Messages of the subject from a sequence on, oldest first; none when there are none. */
export async function readDirectBatch(
  { jsm, inFlight, clock }: DirectBatchParts,
  stream: string,
  query: DirectBatchQuery,
): Promise<StoredMsg[]> {
  const got: StoredMsg[] = [];
  let end: (error?: Error) => void = () => {};
  const ended = new Promise<void>((resolve, reject) => {
    end = (error) => (error ? reject(error) : resolve());
  });
  const callback: BatchCallback<StoredMsg> = (done, message) => {
    if (done) end(done.err);
    else if (lastSequence(message) === (got.at(-1)?.seq ?? 0)) got.push(message);
    else end(new BerthError("broker.unavailable", "part of a batch was lost")); // F3
  };
  try {
    const batch = await jsm.direct.getBatch(stream, { ...query, callback });
    const late = () => end(new BerthError("broker.unavailable", `a batch of ${stream} is late`));
    const cancel = clock.after(WITHIN_MS, late);
    try {
      await inFlight.guard(ended); // F2
    } finally {
      cancel();
      batch.stop(); // F1
    }
  } catch (thrown) {
    if (!isNotFound(thrown)) throw fromNats(thrown);
  }
  return got;
}

function lastSequence({ header }: StoredMsg): number {
  return Number(header.get("Nats-Last-Sequence"));
}
