/** The spans of turns: one each, named by the actor's kind and the message; never a payload. */
import { asBerthError } from "../protocols/errors.ts";
import type { ActorRef } from "../protocols/ids.ts";
import type { Done } from "./batch.ts";
import { type Item, messageOf } from "./inbox.ts";
import type { Span, Tracer } from "./tracing.ts";

export interface TurnTrace {
  readonly tracer: Tracer;
  readonly self: ActorRef;
  readonly epoch: number;
}

/** `first` is the span of the first turn of the same commit: turns that share one are linked to it. */
export function startTurnSpan(turn: TurnTrace, item: Item, first: Span | undefined): Span {
  const { self, epoch, tracer } = turn;
  const message = messageOf(item);
  return tracer.start(`${self.kind} ${message}`, {
    kind: item.type === "ask" ? "server" : "consumer",
    parent: parentOf(item),
    ...(first ? { links: [first.traceparent] } : {}),
    attributes: {
      "berth.actor.kind": self.kind,
      "berth.actor.tenant": self.tenant,
      "berth.actor.key": self.key,
      "berth.message": message,
      "berth.lane": item.type === "ask" ? "ask" : item.mail.lane,
      "berth.epoch": epoch,
      "berth.attempt": item.type === "ask" ? 1 : item.attempts + 1,
    },
  });
}

function parentOf(item: Item): string | undefined {
  if (item.type === "ask") return item.request.traceparent;
  return "due" in item.mail.envelope ? undefined : item.mail.envelope.traceparent;
}

/** Marks a moment of the commit that the turns share. */
export function markTurns(done: readonly Done[], name: "committed" | "published"): void {
  for (const { span } of done) span?.event(name, { "berth.turns": done.length });
}

/** Ends the spans of turns; with what kept them from being stored, if anything did. */
export function endTurns(done: readonly Done[], thrown?: unknown): void {
  for (const { span } of done) {
    if (thrown !== undefined) span?.fail(asBerthError(thrown));
    span?.end();
  }
}
