/**
 * What clients asked of an object and what they were told, with the times of both: the input of a linearizability
 * check. Times of one recorder never repeat, so that what ended before another began is never taken for concurrent.
 */
import { asBerthError, type ErrorCode } from "../../protocols/errors.ts";
import type { Clock } from "../clock.ts";

/** `unknown`: it may have happened or not, or happen yet. `failed`: it is certain that it did not and will not. */
export type Outcome =
  | { readonly type: "ok"; readonly output: unknown }
  | { readonly type: "unknown" }
  | { readonly type: "failed" };

export interface Operation {
  readonly client: string;
  /** The object; objects are judged apart, for linearizability is local (Herlihy and Wing, 1990). */
  readonly key: string;
  readonly op: string;
  readonly input: unknown;
  readonly outcome: Outcome;
  /** Milliseconds on the recorder's clock. */
  readonly start: number;
  /** Infinity when nobody saw it end. */
  readonly end: number;
}

export interface HistoryRecorder {
  /** Says that a client begins an operation; what is returned takes its outcome, once. */
  invoke(client: string, key: string, op: string, input: unknown): (outcome: Outcome) => void;
  /** Runs a call and records it. Rejects as the call does. */
  run<T>(call: RecordedCall, work: () => Promise<T>): Promise<T>;
  /** In the order of their starts; one that has not ended is `unknown`. */
  readonly operations: readonly Operation[];
}

export interface RecordedCall {
  readonly client: string;
  readonly key: string;
  readonly op: string;
  readonly input: unknown;
}

/** Refused before anything was handled: these codes say for certain that a call had no effect. */
const WITHOUT_EFFECT: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "actor.mailbox_full",
  "actor.moved",
  "actor.overloaded",
  "actor.stopped",
  "actor.unknown_kind",
  "actor.unknown_message",
  "id.invalid",
  "node.draining",
  "request.invalid",
  "request.malformed",
]);

/** What an error of a call says of its fate. */
export function outcomeOfError(thrown: unknown): Outcome {
  const { code } = asBerthError(thrown);
  return { type: WITHOUT_EFFECT.has(code) ? "failed" : "unknown" };
}

/** The least step between two times: below the resolution of any clock in milliseconds. */
const TICK_MS = 1e-5;

export function recordHistory(clock: Pick<Clock, "monotonic">): HistoryRecorder {
  const operations: Operation[] = [];
  let last = Number.NEGATIVE_INFINITY;
  const tick = () => {
    last = Math.max(clock.monotonic(), last + TICK_MS);
    return last;
  };
  const invoke: HistoryRecorder["invoke"] = (client, key, op, input) => {
    const at = operations.length;
    const begun = { client, key, op, input, start: tick() };
    operations.push({ ...begun, outcome: { type: "unknown" }, end: Number.POSITIVE_INFINITY });
    let ended = false;
    return (outcome) => {
      if (ended) return;
      ended = true;
      const end = outcome.type === "unknown" ? Number.POSITIVE_INFINITY : tick();
      operations[at] = { ...begun, outcome, end };
    };
  };
  return {
    operations,
    invoke,
    async run({ client, key, op, input }, work) {
      const ended = invoke(client, key, op, input);
      try {
        const output = await work();
        ended({ type: "ok", output });
        return output;
      } catch (thrown) {
        ended(outcomeOfError(thrown));
        throw thrown;
      }
    },
  };
}
