import type { BerthError } from "../protocols/errors.ts";
import type { Item } from "./inbox.ts";
import {
  DEFAULT_SUPERVISION,
  decideSupervision,
  type Supervision,
  type Verdict,
} from "./supervision.ts";

export type FailureAction = Verdict;

/** Supervision applied to an item that threw: an ask is never retried here, its caller may do so. Pure. */
export function decideFailure(
  policy: Supervision = DEFAULT_SUPERVISION,
  item: Item,
  error: BerthError,
  failedAt: readonly number[],
  now: number,
  random: number,
): FailureAction {
  const attempts = item.type === "mail" ? item.attempts + 1 : policy.maxAttempts;
  return decideSupervision(policy, { attempts, retry: error.retry, failedAt, now }, random);
}
