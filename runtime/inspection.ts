/** What an activation waits on, told from the facts that it keeps anyway. Pure; costs nothing until somebody asks. */
import { formatTime } from "../protocols/api.ts";
import { type ActorRef, refName } from "../protocols/ids.ts";
import type { ApiActivation } from "../protocols/inspection.ts";
import type { Activity } from "./activity.ts";
import type { InboxView } from "./inbox.ts";
import type { OutboxEntry } from "./record.ts";
import type { Standing } from "./standing.ts";

export type ActivationState =
  | { readonly type: "idle" | "loading" }
  | { readonly type: "handling"; readonly message: string }
  | { readonly type: "committing"; readonly message: string; readonly turns: number }
  | { readonly type: "publishing"; readonly left: number; readonly to: string }
  | {
      readonly type: "backoff";
      readonly until: string;
      readonly attempts: number;
      readonly code: string;
    }
  | { readonly type: "reading-mail"; readonly left: number }
  | { readonly type: "waiting-for-mail"; readonly lane: string; readonly seq: number }
  | {
      readonly type: "parked" | "stopped";
      readonly code: string;
      readonly reason: string;
      readonly until?: string;
    }
  | { readonly type: "effects"; readonly tools: string[] };

/** An ask that is held back until an earlier message of its sender has come (R4). */
export interface AwaitedMail {
  readonly lane: string;
  readonly seq: number;
}

export interface OpenEffect {
  readonly id: string;
  readonly tool: string;
  /** Milliseconds since the epoch; undefined when it has not begun here. */
  readonly startedAt: number | undefined;
}

export interface ActivationFacts {
  readonly ref: ActorRef;
  readonly epoch: number;
  readonly activity: Activity;
  readonly inbox: InboxView;
  /** Undefined: it takes messages. */
  readonly standing: Standing | undefined;
  /** When a pause after an error of the broker ends (ms since the epoch). */
  readonly pausedUntil: number;
  readonly awaited: AwaitedMail | undefined;
  readonly effects: readonly OpenEffect[];
  readonly revision: number;
  /** Milliseconds since the epoch, and of the monotonic clock. */
  readonly now: number;
  readonly monotonic: number;
}

/** What stands in the way of this activation's next turn. */
export function decideState(facts: ActivationFacts): ActivationState {
  const { activity, effects, standing } = facts;
  const message = activity.message ?? "";
  switch (activity.phase) {
    case "loading":
      return { type: "loading" };
    case "handling":
      return { type: "handling", message };
    case "committing":
      return { type: "committing", message, turns: activity.batch };
    case "publishing": {
      const [oldest] = activity.unsent;
      return { type: "publishing", left: activity.unsent.size, to: oldest ? targetOf(oldest) : "" };
    }
    case "recovering":
      return backoff(facts, facts.pausedUntil, 0);
    case "waiting":
    case "idle":
      if (standing) return standingState(standing);
      return heldBack(facts) ?? (effects.length > 0 ? running(effects) : { type: "idle" });
  }
}

function standingState({ code, message, state, until }: Standing): ActivationState {
  const end = until === undefined ? {} : { until: formatTime(until) };
  return { type: state, code, reason: message, ...end };
}

function heldBack(facts: ActivationFacts): ActivationState | undefined {
  const { awaited, inbox, now } = facts;
  const { retry } = inbox;
  if (retry && retry.at > now) return backoff(facts, retry.at, retry.attempts);
  if (awaited) return { type: "waiting-for-mail", ...awaited };
  return inbox.unread > 0 ? { type: "reading-mail", left: inbox.unread } : undefined;
}

function backoff({ activity }: ActivationFacts, until: number, attempts: number): ActivationState {
  const code = activity.lastError?.code ?? "internal.unexpected";
  return { type: "backoff", until: formatTime(until), attempts, code };
}

function running(effects: readonly OpenEffect[]): ActivationState {
  return { type: "effects", tools: [...new Set(effects.map(({ tool }) => tool))] };
}

/** Who gets an outgoing entry, in a few words. */
function targetOf(entry: OutboxEntry): string {
  switch (entry.op) {
    case "tell":
      return refName(entry.to);
    case "put":
      return `bucket ${entry.bucket}: ${entry.key}`;
    case "remind":
      return `reminder ${entry.due.name}`;
    case "forget":
      return `reminder ${entry.name}`;
    case "dead":
      return "dead letters";
  }
}

/** All that is told of an activation, without where it is. */
export function describeActivation(
  facts: ActivationFacts,
): Omit<ApiActivation, "node" | "partition"> {
  const { activity, effects, epoch, inbox, monotonic, now, ref, revision } = facts;
  const { lastError } = activity;
  const { depths } = inbox;
  return {
    ...ref,
    epoch,
    state: decideState(facts),
    for_ms: Math.max(0, Math.round(monotonic - activity.since)),
    mailbox: depths,
    waiting: Object.values(depths).reduce((sum, depth) => sum + depth, 0),
    oldest_waiting_ms: inbox.oldestAt === undefined ? null : Math.max(0, now - inbox.oldestAt),
    turns: activity.turns,
    revision,
    effects: effects.map(({ id, tool, startedAt }) => ({
      id,
      tool,
      for_ms: startedAt === undefined ? null : Math.max(0, now - startedAt),
    })),
    last_error: lastError ? { ...lastError, at: formatTime(lastError.at) } : null,
  };
}

/** One line on why an ask got no answer in time: `it is committing "add" for 4200 ms, 12 wait`. */
export function explainWait(view: Pick<ApiActivation, "state" | "for_ms" | "waiting">): string {
  const { state, for_ms, waiting } = view;
  const { type, ...detail } = state;
  const fields = Object.entries(detail).map(([name, value]) => `${name} ${String(value)}`);
  const what = fields.length === 0 ? type : `${type} (${fields.join(", ")})`;
  return `it has been ${what} for ${for_ms} ms, ${waiting} wait`;
}
