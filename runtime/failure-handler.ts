/**
 * What follows when a handler threw, or when a message can never be committed (R5).
 *
 * Invariants:
 * F1 A message that is given up stands in the dead letters in the same commit that moves the cursor past it (R2).
 *    Only when that commit can never be stored does its letter go out by itself, and first.
 * F2 What the failed turn recorded is thrown away before anything of its failure is written (R3).
 * F3 A refusal is told from memory alone: it needs a valid lease, as any answer that no commit fences (R1).
 */
import type { Envelope } from "../protocols/envelope.ts";
import { asBerthError, BerthError } from "../protocols/errors.ts";
import { PLATFORM_TENANT, refName } from "../protocols/ids.ts";
import { SYSTEM_MESSAGES } from "../protocols/system.ts";
import type { Activity } from "./activity.ts";
import { answerError, type BatchOutcome, type Done, encodeError } from "./batch.ts";
import type { BatchHandlerParts } from "./batch-handler.ts";
import { letterOf } from "./dead-letters.ts";
import type { FailureLog } from "./failure.ts";
import { isSame } from "./family.ts";
import { reportFailure } from "./family-turn.ts";
import type { Item, MailItem } from "./inbox.ts";
import type { Loaded } from "./loaded.ts";
import type { RecordKeeper } from "./record-keeper.ts";
import type { Stage } from "./stage.ts";
import type { Verdict } from "./supervision.ts";
import { traceFields } from "./tracing.ts";
import type { Mail } from "./transport.ts";
import { type TurnParts, takeMail } from "./turn.ts";

const NO_CAUSE = { id: undefined, traceparent: undefined };
/** Pause before mail of a newer build is looked at again. */
const LOOK_AGAIN_MS = 1_000;
export const UNREADABLE = "actor.state_unreadable";

/** What an asker is told: the cause itself, but nothing of a state that no schema takes. */
function asAnswer(error: BerthError): BerthError {
  return error.code === UNREADABLE ? new BerthError("actor.failed", error.message) : error;
}

/** A restart that could not be obeyed: its actor has given up, whatever its policy says of other messages. */
function orderOf({ envelope, lane }: Mail): Envelope | undefined {
  const isOrder = lane === "system" && !("due" in envelope) && envelope.type === "$restart";
  return isOrder ? envelope : undefined;
}

/** Y1: the failure is one of after the order, or the parent would take it for an old one. */
function takeGeneration(stage: Stage, { from, payload }: Envelope): void {
  const { parent } = stage.family;
  const { generation } = SYSTEM_MESSAGES.$restart.parse(payload);
  if (parent && from && isSame(parent.ref, from) && generation !== undefined)
    stage.change({ parent: { ref: from, generation } });
}

/** What the failure half needs of the batch it is called from. */
export interface OpenBatch {
  turn(loaded: Loaded, stage: Stage): TurnParts;
  /** Releases a stored stage and ends its items. */
  finish(loaded: Loaded, stage: Stage, open: Set<Item>, done: readonly Done[]): Promise<void>;
  putBack(open: Set<Item>, test: (item: Item) => boolean): void;
  /** Takes an item out that was answered without a commit. */
  drop(open: Set<Item>, item: Item): void;
}

export class FailureHandler {
  readonly #parts: BatchHandlerParts;
  readonly #keeper: RecordKeeper;
  readonly #failures: FailureLog;
  readonly #activity: Activity;
  readonly #batch: OpenBatch;

  constructor(
    parts: BatchHandlerParts,
    own: {
      readonly keeper: RecordKeeper;
      readonly failures: FailureLog;
      readonly activity: Activity;
    },
    batch: OpenBatch,
  ) {
    this.#parts = parts;
    this.#keeper = own.keeper;
    this.#failures = own.failures;
    this.#activity = own.activity;
    this.#batch = batch;
  }

  /** A handler threw and nothing else has run: its reply or its supervision. */
  async failed(
    loaded: Loaded,
    open: Set<Item>,
    item: Item,
    { thrown, traceparent }: NonNullable<BatchOutcome["failed"]>,
  ): Promise<void> {
    const { clock, leaseValid, logger, metrics, ref } = this.#parts;
    const error = asBerthError(thrown, "actor.failed");
    if (item.type === "ask" && this.#failures.isAnswer(item, thrown)) {
      if (!leaseValid()) throw new BerthError("lease.lost"); // F3
      this.#batch.drop(open, item);
      answerError(item, error);
      return;
    }
    if (this.#isForNewer(item, error)) {
      this.#batch.putBack(open, () => true);
      if (item.type === "mail") item.notBefore = clock.now() + LOOK_AGAIN_MS;
      this.#keeper.forget();
      return;
    }
    this.#activity.failed(error);
    const verdict = this.#failures.record(item, thrown, clock.now());
    const { action } = verdict;
    metrics.count("berth_turn_failures_total", { kind: ref.kind, action });
    const fields = { actor: refName(ref), action, ...traceFields(traceparent) };
    logger.warn({ err: error, ...fields }, "a handler failed");
    if (action === "retry") this.#retry(open, item, verdict.afterMs);
    else if (action === "park") await this.#park(loaded, open, item, error, verdict);
    else await this.#giveUp(loaded, open, item, error, verdict);
  }

  /** Mail that another build knows holds its lane until that build owns the partition, or nobody knows it (V1). */
  #isForNewer(item: Item, { code }: BerthError): boolean {
    if (item.type !== "mail" || code !== "actor.unknown_message") return false;
    const { envelope } = item.mail;
    const { type } = "due" in envelope ? envelope.due : envelope;
    return this.#parts.servedElsewhere(this.#parts.ref.kind, type);
  }

  /** From the record: what memory held when the handler failed is not used again. */
  #retry(open: Set<Item>, item: Item, afterMs: number): void {
    if (item.type === "mail") {
      item.attempts += 1;
      item.notBefore = this.#parts.clock.now() + afterMs;
    }
    this.#batch.putBack(open, () => true);
    this.#keeper.forget();
  }

  /** Commits that the actor is parked; a message that waits has not been handled and counts no attempt (R2). */
  async #park(
    loaded: Loaded,
    open: Set<Item>,
    item: Item,
    error: BerthError,
    { forMs, fate }: Extract<Verdict, { action: "park" }>,
  ): Promise<void> {
    const { code, message } = error;
    const park = (stage: Stage, now: number) => {
      const until = forMs === undefined ? undefined : now + forMs;
      stage.stand({ type: "park", code, message, until }, now);
    };
    if (fate.action === "give-up") {
      await this.#bury(loaded, open, item, error, park);
      return;
    }
    const stage = this.#keeper.stage(loaded);
    park(stage, this.#parts.clock.now());
    await this.#keeper.commit(loaded, stage);
    await this.#batch.finish(loaded, stage, open, []);
    if (fate.action === "retry") this.#retry(open, item, fate.afterMs);
    else this.#batch.putBack(open, () => true);
  }

  async #giveUp(
    loaded: Loaded,
    open: Set<Item>,
    item: Item,
    error: BerthError,
    verdict: Extract<Verdict, { action: "dead-letter" | "stop" }>,
  ): Promise<void> {
    const { code, message } = error;
    const failedOrder = item.type === "mail" ? orderOf(item.mail) : undefined;
    await this.#bury(loaded, open, item, error, (stage, now) => {
      if (verdict.action !== "stop" && !failedOrder) return;
      if (failedOrder) takeGeneration(stage, failedOrder);
      // With a parent the actor waits for its decision, without one for the end of the pause.
      const hasParent = reportFailure({ stage, now }, { code, message });
      const until = hasParent ? undefined : now + this.#failures.policy.stopMs;
      stage.stand({ type: "stop", code, message, until }, now);
      if (verdict.action === "stop" && verdict.escalate) this.#escalate(stage, error, now);
    });
  }

  /** F1. */
  async #bury(
    loaded: Loaded,
    open: Set<Item>,
    item: Item,
    error: BerthError,
    also: (stage: Stage, now: number) => void,
  ): Promise<void> {
    const stage = this.#keeper.stage(loaded);
    const turn = this.#batch.turn(loaded, stage);
    also(stage, turn.now);
    if (item.type === "mail") {
      takeMail(turn, item.mail);
      stage.add({ op: "dead", letter: this.#letter(item, error) });
    }
    await this.#keeper.commit(loaded, stage);
    const told = asAnswer(error);
    if (item.type === "ask") item.refused?.(told.code);
    await this.#batch.finish(loaded, stage, open, [{ item, answer: encodeError(told) }]);
    if (item.type === "mail") this.#countLetter();
  }

  /** F1: its commit can never be stored, maybe because of its size. */
  async giveUpUnstored(open: Set<Item>, item: Item, error: BerthError): Promise<void> {
    if (item.type === "ask") {
      open.delete(item);
      answerError(item, error);
      return;
    }
    await this.#parts.transport.mailboxes.deadLetter(this.#letter(item, error));
    try {
      await this.#skip(open, item);
    } catch (thrown) {
      if (asBerthError(thrown).retry !== "never") throw thrown;
      open.delete(item);
      item.mail.ack(); // Not even that can be written: the record cannot be read.
    }
    this.#countLetter();
  }

  /** Commits that the message is over, and nothing else of it. */
  async #skip(open: Set<Item>, item: MailItem): Promise<void> {
    const loaded = await this.#keeper.load();
    const stage = this.#keeper.stage(loaded);
    takeMail(this.#batch.turn(loaded, stage), item.mail);
    await this.#keeper.commit(loaded, stage);
    await this.#batch.finish(loaded, stage, open, [{ item, answer: undefined }]);
  }

  #letter(item: MailItem, error: BerthError) {
    const { clock, epoch } = this.#parts;
    return letterOf(item.mail, error, { epoch, attempts: item.attempts + 1, at: clock.now() });
  }

  #countLetter(): void {
    this.#parts.metrics.count("berth_dead_letters_total", { kind: this.#parts.ref.kind });
  }

  #escalate(stage: Stage, error: BerthError, now: number): void {
    const { definition, ref } = this.#parts;
    const target = definition.behaviour.supervision?.escalateTo;
    if (!target) return;
    const { protocol, key, message } = target;
    const tenant = protocol.platform ? PLATFORM_TENANT : ref.tenant;
    const payload = { child: refName(ref), code: error.code, message: error.message };
    stage.tell({ kind: protocol.kind, tenant, key }, "control", message, payload, NO_CAUSE, now);
  }
}
