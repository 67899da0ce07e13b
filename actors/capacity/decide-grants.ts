/** Which waiting workers may start. */
import type { Tier } from "../../protocols/tiers.ts";
import { type FairPolicy, pickFair } from "../fair-order.ts";

export interface WaitingWorker {
  readonly worker: string;
  readonly tier: Tier;
  readonly tenant: string;
  readonly user: string;
  readonly queued_at: number;
}

export interface Grants {
  readonly granted: readonly WaitingWorker[];
  readonly waiting: WaitingWorker[];
  readonly rotation: string[];
}

/** As many as both bounds leave room for: workers in all, and starts at once. Order is `fair-order.ts`. */
export function decideGrants(
  gate: {
    readonly waiting: readonly WaitingWorker[];
    readonly rotation: readonly string[];
    readonly held: number;
    readonly starting: number;
    readonly now: number;
  },
  limits: { readonly maxWorkers: number; readonly maxStarts: number },
  policy: FairPolicy,
): Grants {
  const count = Math.max(
    0,
    Math.min(limits.maxWorkers - gate.held, limits.maxStarts - gate.starting),
  );
  const turn = { rotation: gate.rotation, count, now: gate.now };
  const { picked, rotation } = pickFair(gate.waiting, turn, policy);
  const taken = new Set(picked);
  return {
    granted: picked,
    waiting: gate.waiting.filter((entry) => !taken.has(entry)),
    rotation,
  };
}
