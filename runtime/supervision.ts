/**
 * Supervision: what becomes of an actor whose handler threw (R5). Pure; the activation acts on it. The
 * vocabulary and the restart intensity are OTP's (erlang.org, "Supervisor Behaviour").
 */
import type { Retry } from "../protocols/errors.ts";
import type { Protocol } from "../protocols/protocol.ts";

export interface Supervision {
  /**
   * `restart`: forget memory, reload the record, try the message again. `resume`: keep the state, give the
   * message up. `stop`: give the message up and refuse more until the pause is over. `escalate`: as stop,
   * and tell the actor that `escalateTo` names.
   */
  readonly onFailure: "restart" | "resume" | "stop" | "escalate";
  /** Tries of one message, the first included, before it is a poison message. */
  readonly maxAttempts: number;
  /** Restart intensity: so many failures inside the window, and the actor stops for `stopMs`. */
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
  onFailure: "restart",
  maxAttempts: 4,
  intensity: { failures: 20, withinMs: 60_000 },
  stopMs: 30_000,
  backoff: { initialMs: 50, maxMs: 5_000 },
};

export interface Failure {
  /** How often this message has been tried, this time included. */
  readonly attempts: number;
  readonly retry: Retry;
  /** Times (ms) of this actor's earlier failures. */
  readonly failedAt: readonly number[];
  readonly now: number;
}

export type Verdict =
  | { readonly action: "retry"; readonly afterMs: number }
  | { readonly action: "dead-letter" }
  | { readonly action: "dead-letter-and-stop"; readonly forMs: number; readonly escalate: boolean };

/**
 * Decides by strategy, attempts and intensity. `random` in [0, 1) spreads the backoff (full jitter,
 * as in the AWS Architecture Blog's "Exponential Backoff And Jitter").
 */
export function decideSupervision(policy: Supervision, failure: Failure, random: number): Verdict {
  const recent =
    failure.failedAt.filter((at) => at > failure.now - policy.intensity.withinMs).length + 1;
  const escalate = policy.onFailure === "escalate";
  if (policy.onFailure === "stop" || escalate || recent > policy.intensity.failures) {
    return { action: "dead-letter-and-stop", forMs: policy.stopMs, escalate };
  }
  const hopeless = policy.onFailure === "resume" || failure.retry === "never";
  if (hopeless || failure.attempts >= policy.maxAttempts) {
    return { action: "dead-letter" };
  }
  const ceiling = Math.min(
    policy.backoff.maxMs,
    policy.backoff.initialMs * 2 ** (failure.attempts - 1),
  );
  return { action: "retry", afterMs: Math.round(ceiling / 2 + (random * ceiling) / 2) };
}
