/**
 * The items that one commit will end, and their turns. A hot actor handles what queued up while its last
 * commit was on its way in one; the outcome is that of handling them one by one.
 */
import { asBerthError, BerthError } from "../protocols/errors.ts";
import { encodeReply } from "./ask-codec.ts";
import type { AskItem, Item } from "./inbox.ts";
import type { Span } from "./tracing.ts";
import { runTurn, type TurnParts } from "./turn.ts";
import { startTurnSpan } from "./turn-span.ts";

/** An item whose turn ran, with the answer of an ask as it will be sent: later turns may change what it is made of. */
export interface Done {
  readonly item: Item;
  readonly answer: Uint8Array | undefined;
  /** Still open: it ends with the commit. */
  readonly span?: Span | undefined;
}

export interface BatchOutcome {
  readonly done: readonly Done[];
  /** Whether a turn ran that may write. */
  readonly writes: boolean;
  /** What the item after the last of `done` threw; what came behind it was not run. */
  readonly failed: { readonly thrown: unknown; readonly traceparent?: string } | undefined;
}

/** So young an ask was sent once: a client waits twice as long before it sends one again (C1). */
const ALONE_MS = 250;
export const ANSWER_LOST = encodeError(answerLost());

/**
 * Runs turns on one stage until one throws, or changes whether those behind it are taken at all, or there is no more
 * time: the first always runs.
 */
export function runBatch(
  turn: TurnParts,
  items: Iterable<Item>,
  hasTime: () => boolean,
): BatchOutcome {
  const done: Done[] = [];
  let writes = false;
  const { standing } = turn.stage;
  for (const item of items) {
    const span = turn.tracer.isOn ? startTurnSpan(turn, item, done[0]?.span) : undefined;
    try {
      const answer = answerOf(turn, item, span);
      done.push({ item, answer, span });
      writes ||= item.type === "mail" || !item.def.readOnly;
      if (turn.stage.standing !== standing || !hasTime()) break;
    } catch (thrown) {
      if (!span) return { done, writes, failed: { thrown } };
      span.fail(asBerthError(thrown, "actor.failed"));
      span.end();
      return { done, writes, failed: { thrown, traceparent: span.traceparent } };
    }
  }
  return { done, writes, failed: undefined };
}

/** Runs the item's turn; of an ask, the answer as it will be sent. */
function answerOf(turn: TurnParts, item: Item, span: Span | undefined): Uint8Array | undefined {
  const given = givenBefore(turn, item);
  if (given) return given;
  const payload = run(turn, item, span) ?? {};
  noteAsk(turn, item);
  return item.type === "ask" ? encodeReply({ ok: true, payload }) : undefined;
}

/** What another sending of the ask was answered. */
function givenBefore({ answers, stage }: TurnParts, item: Item): Uint8Array | undefined {
  if (item.type !== "ask" || item.def.readOnly) return undefined;
  const { by, id } = item.request;
  return by && stage.hasHandled(by) ? (answers.of(id) ?? ANSWER_LOST) : undefined;
}

/** Whether another sending of the ask may be under way. */
export function isDoubtful({ request: { again, by } }: AskItem, now: number): boolean {
  return by !== undefined && (again === true || now - by[3] > ALONE_MS);
}

function noteAsk({ now, stage }: TurnParts, item: Item): void {
  if (item.type !== "ask" || item.def.readOnly) return;
  const { by } = item.request;
  if (by) stage.noteHandled(by, now, isDoubtful(item, now));
}

function run(turn: TurnParts, item: Item, span: Span | undefined): unknown {
  if (!span) return runTurn(turn, item);
  return turn.tracer.within(span, () => runTurn(turn, item, span.traceparent));
}

/** What an ask that was handled before is told. */
export function answerLost(): BerthError {
  return new BerthError("ask.timeout", "It was handled, and its answer was lost");
}

/** `isSure`: the actor's record is at hand, and no sending of the ask stands in it. */
export function answerError(ask: AskItem, error: BerthError, isSure = false): void {
  if (error.retry !== "elsewhere") ask.refused?.(error.code);
  ask.respond(encodeError(error, isSure));
}

export function encodeError(error: BerthError, isSure = false): Uint8Array {
  return encodeReply({ ok: false, error: error.toWire(), ...(isSure ? { sure: true } : {}) });
}
