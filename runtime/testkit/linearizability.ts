/**
 * Judges whether a history could have been made by an object that handles one call at a time, each at some instant
 * between its start and its end. The search is Wing and Gong's (1993) with Lowe's memory of what was tried (2017),
 * as in Porcupine and Knossos; keys are judged apart.
 *
 * Invariants:
 * H1 A call of unknown fate has no end: it may take effect at any time after its start, or never.
 * H2 A call that failed for certain is left out.
 * H3 `ok` and `violated` are proofs; a search that its budget stops says `unknown`.
 */
import { type Clock, systemClock } from "../clock.ts";
import type { Operation } from "./history.ts";
import type { Model } from "./models.ts";
import { type SearchLimit, searchOrder } from "./order-search.ts";

export interface Budget {
  /** Steps of the search per key (default 2,000,000). */
  readonly steps?: number;
  /** For all keys together; unlimited when left out. */
  readonly budgetMs?: number;
  readonly clock?: Pick<Clock, "monotonic">;
}

/** As far as the search came: the longest order that holds, and the calls none of which could come next. */
export interface Witness {
  readonly order: readonly Operation[];
  readonly stuck: readonly Operation[];
}

export interface Judgement {
  readonly verdict: "ok" | "violated" | "unknown";
  /** The first key that is not `ok`. */
  readonly key?: string;
  readonly witness?: Witness;
  /** Keys and calls that were judged. */
  readonly keys: number;
  readonly operations: number;
}

const DEFAULT_STEPS = 2_000_000;

export function checkLinearizable<S>(
  model: Model<S>,
  operations: readonly Operation[],
  budget: Budget = {},
): Judgement {
  const byKey = new Map<string, Operation[]>();
  for (const operation of operations) {
    if (operation.outcome.type === "failed") continue; // H2
    const known = byKey.get(operation.key);
    if (known) known.push(operation);
    else byKey.set(operation.key, [operation]);
  }
  const limit = limitOf(budget);
  const size = {
    keys: byKey.size,
    operations: [...byKey.values()].reduce((sum, { length }) => sum + length, 0),
  };
  let unknown: string | undefined;
  for (const [key, calls] of byKey) {
    const found = searchOrder(model, calls, limit);
    if (found.verdict === "violated")
      return { verdict: "violated", key, witness: found.witness, ...size };
    if (found.verdict === "unknown") unknown ??= key;
  }
  return unknown === undefined
    ? { verdict: "ok", ...size }
    : { verdict: "unknown", key: unknown, ...size };
}

function limitOf({ steps = DEFAULT_STEPS, budgetMs, clock = systemClock }: Budget): SearchLimit {
  const until = budgetMs === undefined ? undefined : clock.monotonic() + budgetMs;
  return { steps, isOver: () => until !== undefined && clock.monotonic() >= until };
}
