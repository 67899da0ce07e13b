/** Whether one more connection may be held by an owner of some. */

export interface HeldConnections {
  /** That there may be at once, of all owners together. */
  readonly total: number;
  readonly taken: number;
  /** By the owner that asks. */
  readonly own: number;
}

/** The half for whoever needs many. An owner takes no more of it than it leaves to others: one alone gets a quarter of all. */
const COMMON_SHARE = 2;
/**
 * Of all that is free an owner may always have so small a part, whatever others hold: of 4,096 the thirteenth of greedy ones
 * still gets 40, and nobody is left without one before there are some hundred.
 */
const OWN_SHARE = 32;

export function decideConnection({ own, taken, total }: HeldConnections): boolean {
  const free = total - taken;
  const commonLeft = total / COMMON_SHARE - taken;
  return free > 0 && own < Math.max(commonLeft, free / OWN_SHARE);
}
