/**
 * What an activation does with the items it took from its inbox: turns, commit, answers. What follows a failure is
 * in `failure-handler.ts`.
 *
 * Invariants:
 * B1 Nothing leaves (reply, mail, effect, acknowledgement) before the commit that holds it is stored (R2, R3).
 * B2 `open` is what is still owed: every item taken is answered, acknowledged or put back, exactly once, whatever
 *    fails. Once its commit is stored it is never put back.
 * B3 An answer from memory alone needs a valid lease, and so does a refusal. An ask whose commit may have been stored is never told that
 *    the actor moved, for its caller would send it again.
 */
import { asBerthError, BerthError, type ErrorCode } from "../protocols/errors.ts";
import { refName } from "../protocols/ids.ts";
import type { Activity } from "./activity.ts";
import { wasHandled } from "./askers.ts";
import { ANSWER_LOST, answerError, answerLost, type Done, isDoubtful, runBatch } from "./batch.ts";
import type { FailureLog } from "./failure.ts";
import { FailureHandler, UNREADABLE } from "./failure-handler.ts";
import type { AskItem, Inbox, Item } from "./inbox.ts";
import type { AwaitedMail } from "./inspection.ts";
import type { Loaded } from "./loaded.ts";
import type { Logger } from "./logger.ts";
import { RecentAnswers } from "./recent-answers.ts";
import type { RecordKeeper, RecordKeeperParts } from "./record-keeper.ts";
import type { Stage } from "./stage.ts";
import { admits, isHeldBack, refusalOf, type Standing, standingAt } from "./standing.ts";
import type { Tracer } from "./tracing.ts";
import type { Mail } from "./transport.ts";
import type { TurnParts } from "./turn.ts";
import { endTurns, markTurns } from "./turn-span.ts";
import type { ServedElsewhere } from "./version-skew.ts";

export interface BatchHandlerParts extends RecordKeeperParts {
  readonly logger: Logger;
  readonly tracer: Tracer;
  /** Whether this node may still answer from memory. */
  readonly leaseValid: () => boolean;
  readonly servedElsewhere: ServedElsewhere;
}

/** Turns of one batch compute no longer than this before sockets, timers and other actors get their share. */
const BATCH_MS = 5;

export class BatchHandler {
  readonly #parts: BatchHandlerParts;
  readonly #keeper: RecordKeeper;
  readonly #inbox: Inbox;
  readonly #failures: FailureLog;
  readonly #failure: FailureHandler;
  readonly #activity: Activity;
  readonly #answers = new RecentAnswers();
  /** Items left to handle one by one, because one of their batch failed. */
  #careful = 0;

  constructor(
    parts: BatchHandlerParts,
    own: {
      readonly keeper: RecordKeeper;
      readonly inbox: Inbox;
      readonly failures: FailureLog;
      readonly activity: Activity;
    },
  ) {
    this.#parts = parts;
    this.#keeper = own.keeper;
    this.#inbox = own.inbox;
    this.#failures = own.failures;
    this.#activity = own.activity;
    this.#failure = new FailureHandler(parts, own, {
      turn: (loaded, stage) => this.#turn(loaded, stage),
      finish: (loaded, stage, open, done) => this.#finish(loaded, stage, open, done),
      putBack: (open, test) => this.#putBack(open, test),
      drop: (open, item) => this.#drop(open, item),
    });
  }

  /** Whether the next items must be handled one at a time. */
  get isCareful(): boolean {
    return this.#careful > 0;
  }

  /** R4: an ask waits for the sender's earlier tells. Before the record is loaded nobody knows; then it is tried. */
  isReady(ask: AskItem): boolean {
    const after = ask.request.after;
    if (!after) return true;
    const cursor = this.#keeper.loaded?.record.cursor;
    if (!cursor) return this.#inbox.nextAt() === undefined;
    return Object.entries(after).every(([lane, seq]) => (cursor[lane] ?? 0) >= seq);
  }

  /** What the first ask waits for; undefined when it waits for nothing or nobody knows. */
  get awaited(): AwaitedMail | undefined {
    const after = this.#inbox.firstAsk?.request.after;
    const cursor = this.#keeper.loaded?.record.cursor;
    if (!after || !cursor) return undefined;
    const missing = Object.entries(after).find(([lane, seq]) => (cursor[lane] ?? 0) < seq);
    return missing && { lane: missing[0], seq: missing[1] };
  }

  /**
   * Answers a read from memory at once, also while a commit is under way: it sees what the last one stored (S1).
   * False when it has to go the long way, its failure included.
   */
  answerNow(ask: AskItem): boolean {
    const { clock, leaseValid, metrics, ref } = this.#parts;
    const loaded = this.#keeper.loaded;
    if (!ask.def.readOnly || !loaded || loaded.revision === 0) return false;
    if (!leaseValid() || !this.isReady(ask)) return false;
    if (!admits(standingAt(loaded.record.standing, clock.now()), ask)) return false;
    const turn = this.#turn(loaded, this.#keeper.stage(loaded));
    const { done: all } = runBatch(turn, [ask], () => true);
    const [done] = all;
    if (!done?.answer) return false;
    ask.respond(done.answer);
    done.span?.end();
    this.#activity.handled(1);
    metrics.count("berth_turns_total", { kind: ref.kind });
    return true;
  }

  /** Handles the open items, taking each out as it ends (B2). False when all had to be put back to wait. */
  async handle(open: Set<Item>): Promise<boolean> {
    const given = open.size;
    const loaded = this.#keeper.loaded ?? (await this.#load(open));
    if (!loaded) return true;
    this.#turnAway(loaded, open);
    this.#putBack(open, (item) => item.type === "ask" && !this.isReady(item));
    const [first] = open;
    if (first) {
      // Whether the actor exists is what the first item changes: it is handled alone.
      if (loaded.revision === 0) this.#putBack(open, (item) => item !== first);
      await this.#runTurns(loaded, open, first);
    }
    return given === 0 || first !== undefined;
  }

  /** The record; undefined when it cannot be read and every item has been told so. */
  async #load(open: Set<Item>): Promise<Loaded | undefined> {
    try {
      return await this.#keeper.load();
    } catch (thrown) {
      const error = asBerthError(thrown);
      if (error.code !== UNREADABLE) throw thrown;
      const { logger, ref } = this.#parts;
      logger.error({ err: error, actor: refName(ref) }, "an actor's record cannot be read");
      for (const item of open) await this.#failure.giveUpUnstored(open, item, error);
      return undefined;
    }
  }

  /** What was taken before the record was loaded, and its standing does not admit: mail waits, asks are told why. */
  #turnAway(loaded: Loaded, open: Set<Item>): void {
    const now = this.#parts.clock.now();
    const standing = standingAt(loaded.record.standing, now);
    if (!standing) return;
    for (const item of open) {
      const isMail = item.type === "mail";
      if (isMail ? !this.isOver(item.mail) : !this.isRefused(item, standing)) continue;
      this.#drop(open, item);
      if (isMail) item.mail.ack();
      else answerError(item, this.refusal(item, standing, now));
    }
    this.#putBack(open, (item) => !admits(standing, item));
  }

  /** Whether a commit holds its effect: a redelivery, which would wait for nothing in a lane that is closed. */
  isOver({ lane, seq }: Mail): boolean {
    return seq <= (this.#keeper.loaded?.record.cursor[lane] ?? 0);
  }

  /** Whether the standing lets nobody answer this ask. */
  isRefused(ask: AskItem, standing: Standing): boolean {
    const cursor = this.#keeper.loaded?.record.cursor ?? {};
    return !admits(standing, ask) || isHeldBack(standing, ask, cursor);
  }

  /** What a refused ask is told: one that was handled, and is sent again, is told that (R3). */
  refusal({ request: { by } }: AskItem, standing: Standing, now: number): BerthError {
    const askers = this.#keeper.loaded?.record.askers;
    if (askers && by && wasHandled(askers, by)) return answerLost();
    return this.#parts.leaseValid() ? refusalOf(standing, now) : new BerthError("actor.moved"); // B3
  }

  /** Tells an ask that is not taken so; one that was handled before is told what came of it (R3). */
  turnAway(ask: AskItem, code: ErrorCode): void {
    const { loaded } = this.#keeper;
    const { by, id } = ask.request;
    const askers = loaded?.record.askers;
    if (askers && by && wasHandled(askers, by)) ask.respond(this.#answers.of(id) ?? ANSWER_LOST);
    else answerError(ask, new BerthError(code), loaded !== undefined && this.#parts.leaseValid());
  }

  #putBack(open: Set<Item>, test: (item: Item) => boolean): void {
    const back: Item[] = [];
    for (const item of open) if (test(item)) back.push(item);
    if (back.length === 0) return;
    for (const item of back) open.delete(item);
    this.#inbox.putBack(back);
  }

  #drop(open: Set<Item>, item: Item): void {
    open.delete(item);
    this.#careful = Math.max(0, this.#careful - 1);
  }

  #turn(loaded: Loaded, stage: Stage): TurnParts {
    const { clock, definition, epoch, logger, ref, tracer } = this.#parts;
    const now = clock.now();
    return {
      definition,
      epoch,
      tracer,
      self: ref,
      record: loaded.record,
      exists: loaded.revision > 0,
      stage,
      now,
      log: logger,
      answers: this.#answers,
    };
  }

  /** Mail that an earlier commit has handled, and whose acknowledgement was lost. */
  #countRepeats(loaded: Loaded, open: Set<Item>): void {
    const { metrics, ref } = this.#parts;
    for (const item of open) {
      const isRepeat =
        item.type === "mail" && item.mail.seq <= (loaded.record.cursor[item.mail.lane] ?? 0);
      if (isRepeat) metrics.count("berth_redeliveries_total", { kind: ref.kind });
    }
  }

  async #runTurns(loaded: Loaded, open: Set<Item>, first: Item): Promise<void> {
    const { clock, metrics, ref } = this.#parts;
    const startedAt = clock.monotonic();
    this.#countRepeats(loaded, open);
    const stage = this.#keeper.stage(loaded);
    this.#activity.handling(open);
    const until = startedAt + BATCH_MS;
    const hasTime = () => clock.monotonic() < until;
    const { done, failed, writes } = runBatch(this.#turn(loaded, stage), open, hasTime);
    const sealed = failed ?? sealState(loaded, stage);
    if ("stateJson" in sealed) {
      if (done.length < open.size) this.#keepRest(open, done);
      try {
        const stored = writes && (await this.#keeper.commit(loaded, stage, sealed.stateJson));
        if (!stored) this.#requireLease(done);
        else markTurns(done, "committed");
      } catch (thrown) {
        endTurns(done, thrown);
        throw thrown;
      }
      await this.#finish(loaded, stage, open, done);
      const seconds = (clock.monotonic() - startedAt) / 1_000;
      metrics.observe("berth_turn_seconds", seconds, { kind: ref.kind });
      return;
    }
    endTurns(done, sealed.thrown);
    if (open.size > 1 && done.length > 0) {
      // None of them has left yet: all are handled again, one commit each.
      this.#careful = open.size;
      this.#putBack(open, () => true);
      return;
    }
    this.#putBack(open, (item) => item !== first);
    await this.#failure.failed(loaded, open, first, sealed);
  }

  /** Those behind a turn that changed the actor's standing, or for which no time was left. */
  #keepRest(open: Set<Item>, done: readonly Done[]): void {
    const ended = new Set(done.map(({ item }) => item));
    this.#putBack(open, (item) => !ended.has(item));
  }

  /** B3. */
  #requireLease(done: readonly Done[]): void {
    if (this.#parts.leaseValid()) return;
    if (done.some(({ item }) => item.type === "ask")) throw new BerthError("lease.lost");
  }

  /** After the commit: whatever happens now, the items have been handled. */
  async #finish(
    loaded: Loaded,
    stage: Stage,
    open: Set<Item>,
    done: readonly Done[],
  ): Promise<void> {
    const { metrics, ref } = this.#parts;
    for (const { item } of done) open.delete(item);
    this.#careful = Math.max(0, this.#careful - done.length);
    try {
      await this.#keeper.release(loaded, stage);
      markTurns(done, "published");
    } finally {
      for (const { type, name, value, labels } of stage.metrics) {
        if (type === "count") metrics.count(name, labels, value);
        else metrics.observe(name, value, labels);
      }
      for (const { item, answer } of done) {
        if (item.type === "mail") item.mail.ack();
        else if (answer) this.#respond(item, answer);
      }
      endTurns(done);
      this.#activity.handled(done.length);
      metrics.count("berth_turns_total", { kind: ref.kind }, done.length);
    }
    if (!stage.restarted) return;
    this.#failures.clear();
    this.#keeper.forget();
  }

  #respond(ask: AskItem, answer: Uint8Array): void {
    const isKept = !ask.def.readOnly && isDoubtful(ask, this.#parts.clock.now());
    if (isKept && answer !== ANSWER_LOST) this.#answers.add(ask.request.id, answer);
    ask.respond(answer);
  }

  /** The infrastructure failed, not a handler: what is still open has not been handled, or nobody can say (B2, B3). */
  async disturbed(open: Set<Item>, error: BerthError, gone: boolean): Promise<void> {
    this.#keeper.forget();
    if (error.retry === "never" && open.size === 1) {
      // The broker refuses this very commit (too large): the message cannot be handled, ever.
      for (const item of open) await this.#failure.giveUpUnstored(open, item, error);
      return;
    }
    if (error.retry === "never") this.#careful = open.size;
    const unknown = error.code === "ask.timeout";
    if (gone || unknown || error.code === "lease.lost") {
      const answer = unknown ? error : new BerthError("actor.moved");
      for (const item of open) {
        if (item.type !== "ask") continue;
        open.delete(item);
        answerError(item, answer);
      }
    }
    this.#putBack(open, () => true);
  }
}

/** The state that turns leave behind as a commit stores it; or why a load would not take it. */
function sealState(loaded: Loaded, stage: Stage): { stateJson: string } | { thrown: unknown } {
  try {
    const stateJson = stage.stateJson();
    loaded.state.check(stateJson);
    return { stateJson };
  } catch (thrown) {
    return { thrown };
  }
}
