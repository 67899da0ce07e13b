/** One turn: finds out whether the item is still due, runs the handler, and says what came of it. */
import type { Envelope } from "../protocols/envelope.ts";
import { asBerthError, BerthError } from "../protocols/errors.ts";
import type { ActorRef } from "../protocols/ids.ts";
import type { Messages } from "../protocols/protocol.ts";
import { isSystemType } from "../protocols/system.ts";
import type { ActorDefinition, Behaviour } from "./actor.ts";
import { letterOf } from "./dead-letters.ts";
import type { AskItem, Item, MailItem } from "./inbox.ts";
import type { Logger } from "./logger.ts";
import type { RecentAnswers } from "./recent-answers.ts";
import type { ActorRecord } from "./record.ts";
import type { Hearing } from "./senders.ts";
import type { Stage } from "./stage.ts";
import { runSystem } from "./system-turn.ts";
import type { Tracer } from "./tracing.ts";
import type { Mail } from "./transport.ts";
import { readContext, type TurnInput, turnContext } from "./turn-context.ts";

export interface TurnParts {
  readonly definition: ActorDefinition;
  readonly self: ActorRef;
  readonly record: Pick<ActorRecord, "effects">;
  /** Whether the actor had a record before this batch. */
  readonly exists: boolean;
  readonly stage: Stage;
  readonly now: number;
  readonly log: Logger;
  readonly tracer: Tracer;
  readonly epoch: number;
  readonly answers: Pick<RecentAnswers, "of">;
}

type AnyHandler = (context: unknown, input: unknown) => unknown;

/**
 * Runs an item. Throws what the handler threw; the stage is then spoilt and must be thrown away. Returns an ask's reply.
 * `traceparent` is that of the turn's own span, if it has one: what the turn sends continues it.
 */
export function runTurn(parts: TurnParts, item: Item, traceparent?: string): unknown {
  return item.type === "ask" ? runAsk(parts, item, traceparent) : runMail(parts, item, traceparent);
}

function handlerOf(behaviour: Behaviour<unknown, Messages>, type: string): AnyHandler {
  return behaviour.handlers[type] as AnyHandler;
}

function runAsk(
  parts: TurnParts,
  { request, def, input }: AskItem,
  traceparent = request.traceparent,
): unknown {
  const turn: TurnInput = {
    self: parts.self,
    protocol: parts.definition.protocol,
    children: parts.definition.behaviour.children,
    exists: parts.exists,
    from: request.from,
    cause: { id: request.id, traceparent },
    now: parts.now,
    log: parts.log,
  };
  const context = def.readOnly
    ? readContext(turn, parts.stage.readState())
    : turnContext(turn, parts.stage);
  return handlerOf(parts.definition.behaviour, request.type)(context, input);
}

function runMail(parts: TurnParts, { mail }: MailItem, traceparent?: string): undefined {
  const message = takeMail(parts, mail);
  if (!message) return undefined;
  const trace = traceparent ?? message.envelope?.traceparent;
  const deliverOwn = (type: string, payload: unknown) =>
    deliver(parts, { ...message, type, payload }, trace);
  if (isSystemMail(mail, message)) runSystem(parts, mail, message, deliverOwn);
  else deliver(parts, message, trace);
  return undefined;
}

/** The runtime's reminders come back on the lane of all reminders; only those that it has set get so far. */
function isSystemMail({ lane }: Mail, { type }: Message): boolean {
  return lane === "system" || (lane === "due" && isSystemType(type));
}

type TakeParts = Pick<TurnParts, "stage" | "record" | "epoch" | "now">;

/**
 * Does all the book-keeping of a piece of mail but for its handler: cursor, reminder, effect, sender's number.
 * Undefined when it has been handled or cancelled. Alone, it is how a message is given up.
 */
export function takeMail(parts: TakeParts, mail: Mail): Message | undefined {
  const { stage } = parts;
  if (mail.seq <= (stage.cursor[mail.lane] ?? 0)) return undefined;
  stage.advance(mail.lane, mail.seq);
  return "due" in mail.envelope ? dueMessage(stage, mail) : freshMessage(parts, mail);
}

export interface Message {
  readonly type: string;
  readonly payload: unknown;
  readonly envelope: Envelope | undefined;
}

/** A reminder counts only if the record still names it: else it was cancelled or set again (R6). */
function dueMessage(stage: Stage, mail: Mail): Message | undefined {
  if (!("due" in mail.envelope)) return undefined;
  const { due } = mail.envelope;
  if (stage.reminders[due.name] !== due.id) return undefined;
  delete stage.reminders[due.name];
  return { type: due.type, payload: due.payload, envelope: undefined };
}

/** Drops what this actor has had: a sender's outbox sent again after a crash, a tool's second result (R3). */
function freshMessage(parts: TakeParts, mail: Mail): Message | undefined {
  if ("due" in mail.envelope) return undefined;
  const { stage, record, now } = parts;
  const envelope = mail.envelope;
  if (envelope.effect !== undefined) {
    const known = envelope.effect in record.effects && !stage.endedEffects.has(envelope.effect);
    if (!known) return undefined;
    stage.endEffect(envelope.effect);
  }
  if (isRepeated(stage, envelope, now)) return undefined;
  const hearing = hearingOf(envelope, mail.lane);
  if (hearing) {
    const heard = stage.hasHeard(hearing, envelope.again ?? false);
    // The runtime's own mail counts its generations besides: what is old does nothing (Y1).
    const isDoubtful = heard === "unknown" && mail.lane !== "system";
    if (isDoubtful) setAside(parts, mail);
    if (isDoubtful || heard === true) return undefined;
    stage.hear(hearing);
  }
  return { type: envelope.type, payload: envelope.payload, envelope };
}

/** Notes a client's message by its number, unless it was handled before. A replayed letter is meant to be handled again. */
function isRepeated(stage: Stage, { by, letter }: Envelope, now: number): boolean {
  if (!by || letter !== undefined) return false;
  if (stage.hasHandled(by)) return true;
  stage.noteHandled(by, now, true);
  return false;
}

/** What the message is known by when it comes again; a replayed letter is a sender that writes once (D2). */
function hearingOf(envelope: Envelope, lane: string): Hearing | undefined {
  const { from, letter, nth, sentAt } = envelope;
  if (letter !== undefined)
    return { from: { kind: "$letter", tenant: "", key: letter }, lane, nth: 1, sentAt };
  return from && nth !== undefined ? { from, lane, nth, sentAt } : undefined;
}

/** Handling it again might do its effect twice, dropping it might lose it: a person decides (R2, R3). */
function setAside({ stage, epoch, now }: TakeParts, mail: Mail): void {
  const error = new BerthError("actor.doubtful");
  stage.add({ op: "dead", letter: letterOf(mail, error, { epoch, attempts: 0, at: now }) });
  const labels = { kind: mail.ref.kind };
  stage.metrics.push({ type: "count", name: "berth_dead_letters_total", labels, value: 1 });
}

function deliver(parts: TurnParts, message: Message, traceparent: string | undefined): void {
  const { definition, self, stage } = parts;
  const def = definition.protocol.messages[message.type];
  if (def?.type !== "tell") {
    throw new BerthError("actor.unknown_message", `${self.kind} takes no tell "${message.type}"`);
  }
  const parsed = def.input.safeParse(message.payload);
  if (!parsed.success) {
    const field = parsed.error.issues[0]?.path.join(".");
    throw new BerthError(
      "request.invalid",
      `${message.type}: ${asBerthError(parsed.error).message}`,
      { field },
    );
  }
  const turn: TurnInput = {
    self,
    protocol: definition.protocol,
    children: definition.behaviour.children,
    exists: parts.exists,
    from: message.envelope?.from,
    cause: { id: message.envelope?.id, traceparent },
    now: parts.now,
    log: parts.log,
  };
  handlerOf(definition.behaviour, message.type)(turnContext(turn, stage), parsed.data);
}
