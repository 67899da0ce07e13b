/** What turns do with an actor's family: orders to children, reports to the parent. All is recorded on the stage (Y3). */
import { BerthError } from "../protocols/errors.ts";
import type { ActorRef } from "../protocols/ids.ts";
import { refName } from "../protocols/ids.ts";
import { type ChildPolicy, DEFAULT_CHILDREN, decideChildren } from "./children.ts";
import { childOf, isSame, type Plan, pendingRestarts } from "./family.ts";
import type { Cause, Stage } from "./stage.ts";
import { standingAt } from "./standing.ts";

/** Bounds the record (R7). */
const MAX_CHILDREN = 1_000;
/** The reminder of an order that nobody has acknowledged yet; no author can name one so. */
const LATE = "$late";
const NO_CAUSE: Cause = { id: undefined, traceparent: undefined };

export interface FamilyTurn {
  readonly stage: Stage;
  readonly now: number;
  readonly cause?: Cause;
  readonly policy?: ChildPolicy | undefined;
}

/** Puts `child` behind those that are supervised already; does nothing for one of them. */
export function supervise(turn: FamilyTurn, child: ActorRef): void {
  const { stage } = turn;
  const { children } = stage.family;
  if (isSame(child, stage.self)) throw new BerthError("request.invalid", "it is its own parent");
  if (childOf(stage.family, child)) return;
  if (children.length >= MAX_CHILDREN) {
    throw new BerthError("actor.overloaded", `it supervises ${MAX_CHILDREN} actors already`);
  }
  const generation = send(turn, child, "$adopt", {});
  stage.change({ children: [...children, { ref: child, generation }] });
}

/** Lets a child go, as it is: a stopped one stays so. */
export function unsupervise(turn: FamilyTurn, child: ActorRef): void {
  if (!childOf(turn.stage.family, child)) return;
  send(turn, child, "$release", {});
  forgetChild(turn, child);
}

/** Takes a child out of the list; a plan does not wait for it. */
export function forgetChild(turn: FamilyTurn, child: ActorRef): void {
  const { stage } = turn;
  const { children, plan } = stage.family;
  stage.change({ children: children.filter(({ ref }) => !isSame(ref, child)) });
  if (plan?.awaited && isSame(plan.awaited.ref, child)) advance(turn);
}

/** A child has given up. False when the parent now gives up, too. */
export function childFailed(
  turn: FamilyTurn,
  child: ActorRef,
  failure: { readonly code: string; readonly message: string; readonly generation: number },
): boolean {
  const { now, stage } = turn;
  const { children, failedAt, plan } = stage.family;
  const known = childOf(stage.family, child);
  // Y1; and who stops all children, or has, restarts none.
  if (!known || failure.generation < known.generation || plan?.stop || isDown(turn)) return true;
  const policy = turn.policy ?? DEFAULT_CHILDREN;
  const verdict = decideChildren(policy, {
    children: children.map(({ ref }) => refName(ref)),
    failed: refName(child),
    pending: pendingRestarts(plan),
    failedAt,
    now,
  });
  if (verdict.action === "none") return true;
  stage.change({ failedAt: [...failedAt, now].slice(-policy.intensity.failures - 1) });
  if (verdict.action === "give-up") {
    const message = `${refName(child)}: ${failure.code}: ${failure.message}`;
    const stop = { code: "actor.children_failed", message };
    begin(turn, { steps: stopAll(stage), stop, escalate: true });
    return false;
  }
  const refs = new Map(children.map(({ ref }) => [refName(ref), ref]));
  const steps = (order: "stop" | "restart", names: readonly string[]) =>
    names.flatMap((name) => ({ order, child: refs.get(name) ?? [] })) as Plan["steps"];
  if (policy.strategy === "one-for-one") restartAlone(turn, child);
  else {
    const all = [...steps("stop", verdict.stop), ...steps("restart", verdict.restart)];
    begin(turn, { ...plan, steps: all });
  }
  return true;
}

/** No other child waits for it, so no plan is needed; one that runs takes it in. */
function restartAlone(turn: FamilyTurn, child: ActorRef): void {
  const { stage } = turn;
  const { plan } = stage.family;
  if (!plan) {
    order(turn, "restart", child, {});
    return;
  }
  const steps: Plan["steps"] = [{ order: "restart", child }, ...plan.steps];
  if (plan.awaited && isSame(plan.awaited.ref, child)) begin(turn, { ...plan, steps });
  else stage.change({ plan: { ...plan, steps } });
}

/** Stops all children, last first, then this actor itself. `acknowledge` is the generation of the order to do so. */
export function stopFamily(
  turn: FamilyTurn,
  stop: NonNullable<Plan["stop"]>,
  acknowledge: number | undefined,
): void {
  begin(turn, { steps: stopAll(turn.stage), stop, acknowledge });
}

/** Restarts all children in order, for a parent that has restarted itself; the counting of failures begins anew. */
export function restartFamily(turn: FamilyTurn, acknowledge: number | undefined): void {
  const { stage } = turn;
  const restarts = stage.family.children.map(({ ref }) => ({
    order: "restart" as const,
    child: ref,
  }));
  stage.change({ failedAt: [], down: undefined });
  begin(turn, { steps: [...stopAll(stage), ...restarts], acknowledge });
}

function stopAll(stage: Stage): Plan["steps"] {
  return stage.family.children
    .toReversed()
    .map(({ ref }) => ({ order: "stop" as const, child: ref }));
}

/** The awaited order was obeyed, or is late. Others are of plans that are over. */
export function answered(turn: FamilyTurn, generation: number): void {
  if (turn.stage.family.plan?.awaited?.generation === generation) advance(turn);
}

function begin(turn: FamilyTurn, plan: Plan): void {
  turn.stage.change({ plan: { ...plan, awaited: undefined } });
  advance(turn);
}

/** Y2. */
function advance(turn: FamilyTurn): void {
  const { now, policy = DEFAULT_CHILDREN, stage } = turn;
  const { plan } = stage.family;
  if (!plan) return;
  const at = plan.steps.findIndex(({ child }) => childOf(stage.family, child));
  const step = plan.steps[at];
  if (!step) {
    end(turn, plan);
    return;
  }
  const generation = order(turn, step.order, step.child, { plan, acknowledge: true });
  const awaited = { ref: step.child, generation };
  stage.change({ plan: { ...plan, steps: plan.steps.slice(at + 1), awaited } });
  stage.remind(LATE, LATE, { generation }, now + policy.stopMs);
}

function end(turn: FamilyTurn, { acknowledge, escalate, stop }: Plan): void {
  const { now, stage } = turn;
  stage.forget(LATE);
  const down = stop !== undefined && stage.family.children.length > 0;
  stage.change({ plan: undefined, ...(down ? { down } : {}) });
  if (stop) stage.stand({ type: "stop", ...stop }, now);
  if (stop && escalate) reportFailure(turn, stop);
  acknowledgeOrder(turn, acknowledge);
}

/** Tells the parent, if there is one, that this actor has given up. False when there is none. */
export function reportFailure(
  turn: FamilyTurn,
  failure: { readonly code: string; readonly message: string },
): boolean {
  const { parent } = turn.stage.family;
  if (!parent) return false;
  const { code, message } = failure;
  tell(turn, parent.ref, "$failed", { code, message, generation: parent.generation });
  return true;
}

export function acknowledgeOrder(turn: FamilyTurn, generation: number | undefined): void {
  const { parent } = turn.stage.family;
  if (parent && generation !== undefined) tell(turn, parent.ref, "$done", { generation });
}

function isDown({ now, stage }: FamilyTurn): boolean {
  return stage.family.down === true && standingAt(stage.standing, now)?.state === "stopped";
}

/** Y1: orders and remembers the generation. */
function order(
  turn: FamilyTurn,
  kind: "stop" | "restart",
  child: ActorRef,
  by: { readonly plan?: Plan; readonly acknowledge?: boolean },
): number {
  const { stage } = turn;
  const why = by.plan?.stop ?? { code: "actor.stopped", message: "its parent restarts it" };
  const cause = kind === "stop" ? why : {};
  const acknowledge = by.acknowledge ? { acknowledge: true } : {};
  const generation = send(turn, child, `$${kind}`, { ...cause, ...acknowledge });
  const children = stage.family.children.map((known) =>
    isSame(known.ref, child) ? { ...known, generation } : known,
  );
  stage.change({ children });
  return generation;
}

/** The number of the message is its generation: it only grows. */
function send(turn: FamilyTurn, to: ActorRef, type: string, payload: object): number {
  const generation = turn.stage.nth + 1;
  tell(turn, to, type, { ...payload, generation });
  return generation;
}

function tell(
  { stage, now, cause = NO_CAUSE }: FamilyTurn,
  to: ActorRef,
  type: string,
  payload: object,
): void {
  stage.tell(to, "system", type, payload, cause, now);
}
