/**
 * Supervision: what becomes of an actor whose handler threw (R5). Pure; the failure handler acts on it. The
 * vocabulary and the restart intensity are OTP's (erlang.org, "Supervisor Behaviour"), `resume` is Akka's; `park` is for
 * causes that no restart mends.
 */
import type { ErrorCode, Retry } from "../protocols/errors.ts";
import type { Protocol } from "../protocols/protocol.ts";
import type { LaneName } from "./inbox.ts";

/**
 * `restart`: forget memory, reload the record, try the message again with backoff. `resume`: the fault is the message's
 * alone; bury it and go on. `dead-letter`: bury it at once, and count it against the actor. `park`: keep the
 * message and take no more until the cause is gone. `stop`: bury it and refuse more for `stopMs`, or until the
 * parent restarts the actor. `escalate`: as stop, and tell the actor that `escalateTo` names.
 */
type Plain = "restart" | "resume" | "dead-letter" | "park" | "stop" | "escalate";
export type Reaction = Plain | { readonly reaction: "park"; readonly forMs: number };

/** `"quota.hourly"` is sharper than `"quota.*"`, and that sharper than `default`. Foreign errors are `actor.failed`. */
export type Causes = { readonly default: Reaction } & {
  readonly [K in ErrorCode | AreaPattern<ErrorCode>]?: Reaction;
};
type AreaPattern<C extends string> = C extends `${infer Area}.${string}` ? `${Area}.*` : never;

export interface Supervision {
  /** From what was thrown to what follows. */
  readonly on: Causes;
  /** Tries of one message, the first included, before it is a poison message. */
  readonly maxAttempts: number;
  /** What a poison message says of its actor: nothing (the default), or that it has given up, as on `escalate`. */
  readonly poison?: "resume" | "give-up";
  /** Restart intensity: more failures than this inside the window, and the actor stops. */
  readonly intensity: { readonly failures: number; readonly withinMs: number };
  readonly stopMs: number;
  /** Who is told `{ child, code, message }` on `escalate`: an actor of the same tenant, or of the platform. */
  readonly escalateTo?: {
    readonly protocol: Protocol;
    readonly key: string;
    readonly message: string;
  };
  readonly backoff: { readonly initialMs: number; readonly maxMs: number };
}

export const DEFAULT_SUPERVISION: Supervision = {
  on: { default: "restart" },
  maxAttempts: 4,
  intensity: { failures: 20, withinMs: 60_000 },
  stopMs: 30_000,
  backoff: { initialMs: 50, maxMs: 5_000 },
};

export interface Failure {
  readonly code: ErrorCode;
  readonly retry: Retry;
  /** When the error itself says after how long another try may succeed. */
  readonly retryAfterMs?: number | undefined;
  /** An ask is never tried again here; its caller may do so. */
  readonly lane: LaneName | "ask";
  /** How often this message has been tried, this time included. */
  readonly attempts: number;
  /** Times (ms) of this actor's earlier failures that count. */
  readonly failedAt: readonly number[];
  readonly now: number;
}

export type Verdict =
  | { readonly action: "retry"; readonly afterMs: number }
  | { readonly action: "dead-letter" }
  | { readonly action: "stop"; readonly escalate: boolean }
  /** `fate`: whether the message waits until the actor is unparked, is tried again all the same, or is given up. */
  | { readonly action: "park"; readonly forMs: number | undefined; readonly fate: Fate };
type Fate =
  | { readonly action: "wait" | "give-up" }
  | { readonly action: "retry"; readonly afterMs: number };

/** Whether failures so met count towards the restart intensity. */
export function countsAsFailure(policy: Supervision, code: ErrorCode): boolean {
  const { reaction } = reactionTo(policy.on, code);
  return reaction !== "resume" && reaction !== "park";
}

/** Whether the policy names this code or its area, so that it is a cause even when a handler answers with it. */
export function isNamedCause(policy: Supervision, code: ErrorCode): boolean {
  return reactionTo(policy.on, code).named;
}

function reactionTo(on: Causes, code: ErrorCode) {
  const area = `${code.slice(0, code.indexOf("."))}.*` as AreaPattern<ErrorCode>;
  const named = on[code] ?? on[area];
  const chosen = named ?? on.default;
  return {
    named: named !== undefined,
    reaction: typeof chosen === "string" ? chosen : chosen.reaction,
    forMs: typeof chosen === "string" ? undefined : chosen.forMs,
  };
}

/**
 * Decides by cause, attempts and intensity. `random` in [0, 1) spreads the backoff (equal jitter, as in the AWS
 * Architecture Blog's "Exponential Backoff And Jitter": half of the pause is fixed).
 */
export function decideSupervision(policy: Supervision, failure: Failure, random: number): Verdict {
  const { reaction, forMs } = reactionTo(policy.on, failure.code);
  const pauseMs = backoffMs(policy, failure.attempts, random);
  switch (reaction) {
    case "park":
      return decidePark(policy, failure, forMs, pauseMs);
    case "stop":
    case "escalate":
      return { action: "stop", escalate: reaction === "escalate" };
    case "resume":
      return { action: "dead-letter" };
    case "restart":
    case "dead-letter":
      return decideRestart(policy, failure, pauseMs);
  }
}

/** Mail that a parked actor takes cannot wait for the end of its parking: it is tried again, and then given up. */
function decidePark(
  policy: Supervision,
  failure: Failure,
  forMs: number | undefined,
  pauseMs: number,
): Verdict {
  const waits = ["user", "background", "due"].includes(failure.lane);
  const given = isLastTry(policy, failure)
    ? ({ action: "give-up" } as const)
    : ({ action: "retry", afterMs: pauseMs } as const);
  return {
    action: "park",
    forMs: failure.retryAfterMs ?? forMs,
    fate: waits ? { action: "wait" } : given,
  };
}

function decideRestart(policy: Supervision, failure: Failure, pauseMs: number): Verdict {
  const { code, failedAt, lane, now, retry } = failure;
  const { reaction, named } = reactionTo(policy.on, code);
  const recent = failedAt.filter((at) => at > now - policy.intensity.withinMs).length + 1;
  if (recent > policy.intensity.failures) return { action: "stop", escalate: false };
  // An error that says for certain that another try is in vain is believed, unless its author names it.
  const hopeless = reaction === "dead-letter" || (retry === "never" && !named);
  if (!hopeless && !isLastTry(policy, failure)) return { action: "retry", afterMs: pauseMs };
  return policy.poison === "give-up" && lane !== "ask"
    ? { action: "stop", escalate: true }
    : { action: "dead-letter" };
}

function isLastTry(policy: Supervision, { attempts, lane }: Failure): boolean {
  return lane === "ask" || attempts >= policy.maxAttempts;
}

function backoffMs({ backoff }: Supervision, attempts: number, random: number): number {
  const ceiling = Math.min(backoff.maxMs, backoff.initialMs * 2 ** (attempts - 1));
  return Math.round(ceiling / 2 + (random * ceiling) / 2);
}
