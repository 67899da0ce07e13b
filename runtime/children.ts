/**
 * What a parent does about a child that has given up (R5). Pure. Strategies, order and restart intensity are those of
 * OTP's supervisors (erlang.org, "Supervisor Behaviour"). Where durable actors differ: a child that has given up is not
 * dead but stopped, its mail waits; and "started" means that it has committed its restart, not that it runs anywhere.
 */
export interface ChildPolicy {
  /**
   * Who restarts when a child has given up. `one-for-one`: it alone. `rest-for-one`: it and those supervised after
   * it. `one-for-all`: all. The others are stopped first, the last supervised first; then all are restarted in the
   * order in which they were supervised.
   */
  readonly strategy: "one-for-one" | "rest-for-one" | "one-for-all";
  /** More failures of children than this inside the window, and the parent stops them all and gives up itself. */
  readonly intensity: { readonly failures: number; readonly withinMs: number };
  /** How long one child may take to stop or to restart before the next one's turn comes all the same (OTP: shutdown). */
  readonly stopMs: number;
}

export const DEFAULT_CHILDREN: ChildPolicy = {
  strategy: "one-for-one",
  intensity: { failures: 3, withinMs: 60_000 },
  stopMs: 5_000,
};

export interface ChildFailure<C> {
  /** In the order in which they were supervised. */
  readonly children: readonly C[];
  readonly failed: C;
  /** Children whose restart is decided and not ordered yet. */
  readonly pending: ReadonlySet<C>;
  /** Times (ms) of earlier failures of children. */
  readonly failedAt: readonly number[];
  readonly now: number;
}

export type ChildVerdict<C> =
  | { readonly action: "none" }
  /** Stop in this order, then restart in this order. */
  | { readonly action: "restart"; readonly stop: readonly C[]; readonly restart: readonly C[] }
  | { readonly action: "give-up"; readonly stop: readonly C[] };

export function decideChildren<C>(policy: ChildPolicy, failure: ChildFailure<C>): ChildVerdict<C> {
  const { children, failed, failedAt, now, pending } = failure;
  // Its restart is on its way: as in OTP, the end of a child that is being ended is no failure.
  if (!children.includes(failed) || pending.has(failed)) return { action: "none" };
  const recent = failedAt.filter((at) => at > now - policy.intensity.withinMs).length + 1;
  if (recent > policy.intensity.failures) return { action: "give-up", stop: children.toReversed() };
  if (policy.strategy === "one-for-one") return { action: "restart", stop: [], restart: [failed] };
  const first = policy.strategy === "one-for-all" ? 0 : children.indexOf(failed);
  const restart = children.filter((child, i) => i >= first || pending.has(child));
  const stop = restart.filter((child) => child !== failed).toReversed();
  return { action: "restart", stop, restart };
}
