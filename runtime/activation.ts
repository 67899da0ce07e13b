/**
 * One live actor on this node: its inbox, its loaded record, one turn at a time.
 *
 * Invariants:
 * A1 Only one piece of work runs per activation: a turn never overlaps another of the same actor.
 * A2 After closing nothing new is begun. What is being handled ends, and `ended` says when.
 * A3 Mail given to an open activation is handled by it or by the partition's next owner. An activation that closes
 *    by itself holds none and is taken out of its host in the same instant, so that none is given to it later.
 */
import { asBerthError, BerthError } from "../protocols/errors.ts";
import type { ActorRef } from "../protocols/ids.ts";
import { refName } from "../protocols/ids.ts";
import { Activity, type Tally } from "./activity.ts";
import { answerError } from "./batch.ts";
import { BatchHandler, type BatchHandlerParts } from "./batch-handler.ts";
import type { BodyBudget } from "./body-budget.ts";
import { FailureLog } from "./failure.ts";
import type { AskItem, Item } from "./inbox.ts";
import { ASK_CAPACITY, Inbox, joinAsk } from "./inbox.ts";
import { describeActivation } from "./inspection.ts";
import type { Pace } from "./pace.ts";
import { RecordKeeper } from "./record-keeper.ts";
import { Refill } from "./refill.ts";
import { Refusals } from "./refusals.ts";
import { openedLanes, type Standing, standingAt } from "./standing.ts";
import type { Mail } from "./transport.ts";

export interface ActivationParts extends BatchHandlerParts {
  readonly random: () => number;
  /** What all inboxes of the node may hold. */
  readonly bodies: BodyBudget;
  readonly tally: Tally;
  readonly pace: Pace;
}

/** How an actor comes in that its mail woke. */
export interface Entrance {
  /** What came for it while it waited. */
  readonly inbox: Inbox;
  /** Called each time that it has nothing more to do, until somebody asks it something. */
  readonly idle: (activation: Activation) => void;
}

/** Turns that share one commit at most: bounds the size of a record's outbox and the wait of a reply. */
const MAX_BATCH = 64;
const FIRST_PAUSE_MS = 20;
const MAX_PAUSE_MS = 1_000;
/** Any change wakes the loop sooner; this bounds its wait all the same. */
const MAX_WAIT_MS = 1_000;
/** The same while the actor is parked or stopped: only new mail, its end or a late wish to passivate can change that. */
const MAX_STANDING_WAIT_MS = 60_000;

export class Activation {
  readonly #parts: ActivationParts;
  readonly #inbox: Inbox;
  readonly #refill: Refill;
  readonly #keeper: RecordKeeper;
  readonly #failures: FailureLog;
  readonly #handler: BatchHandler;
  readonly #activity: Activity;
  #running = false;
  #closed = false;
  #recovering = false;
  #pauseMs = FIRST_PAUSE_MS;
  #pausedUntil = 0;
  #wake: (() => void) | undefined;
  #waiters: (() => void)[] = [];
  readonly #recoveries: (() => void)[] = [];
  #lastUsed: number;
  #idle: Entrance["idle"] | undefined;
  #hasStarted: () => void = () => {};
  readonly #started = new Promise<void>((resolve) => {
    this.#hasStarted = resolve;
  });
  readonly #refusals = new Refusals();
  /** What is being handled and not ended. */
  #open: ReadonlySet<Item> = new Set();

  constructor(parts: ActivationParts, entrance?: Entrance) {
    this.#parts = parts;
    this.#inbox = entrance?.inbox ?? new Inbox(ASK_CAPACITY, parts.bodies);
    this.#idle = entrance?.idle;
    this.#refill = new Refill(parts, this.#inbox, () => this.#kick());
    this.#activity = new Activity(parts);
    this.#keeper = new RecordKeeper(parts, this.#activity);
    this.#failures = new FailureLog(parts.definition.behaviour.supervision, parts.random);
    this.#handler = new BatchHandler(parts, {
      keeper: this.#keeper,
      inbox: this.#inbox,
      failures: this.#failures,
      activity: this.#activity,
    });
    this.#lastUsed = parts.clock.monotonic();
  }

  get ref(): ActorRef {
    return this.#parts.ref;
  }

  get waiting(): number {
    return this.#inbox.size;
  }

  /** Waiting messages of which only the sequence is in memory. */
  get stubs(): number {
    return this.#inbox.stubs;
  }

  /** What it waits on and what waits for it: no state, for that may be private. */
  describe() {
    const { clock, epoch, ref } = this.#parts;
    return describeActivation({
      ref,
      epoch,
      activity: this.#activity,
      inbox: this.#inbox.look(),
      standing: this.#standing(clock.now()),
      pausedUntil: this.#pausedUntil,
      awaited: this.#handler.awaited,
      effects: this.#keeper.describeEffects(),
      revision: this.#keeper.loaded?.revision ?? 0,
      now: clock.now(),
      monotonic: clock.monotonic(),
    });
  }

  pushMail(mail: Mail): void {
    if (this.#closed) return; // A3
    const isOver = this.#handler.isOver(mail);
    if (isOver) mail.ack();
    const isNew = !isOver && this.#inbox.pushMail(mail);
    if (!isNew) this.#parts.metrics.count("berth_redeliveries_total", { kind: mail.ref.kind });
    if (!isOver) this.#kick();
  }

  /** Whether the ask is here already, waiting or being handled: its answer then goes to this sending of it, too. */
  joins(item: AskItem): boolean {
    return joinAsk(this.#open, item) || this.#inbox.joins(item);
  }

  pushAsk(item: AskItem): void {
    const { again, id } = item.request;
    if (again && this.joins(item)) return;
    const refusal = again ? this.#refusals.of(id) : undefined;
    item.refused = (code) => this.#refusals.add(id, code);
    this.#idle = undefined;
    if (refusal) this.#handler.turnAway(item, refusal);
    else if (this.#closed) answerError(item, new BerthError("actor.moved"));
    else if ((item.request.alone || !this.#isBusy) && this.#handler.answerNow(item))
      this.#lastUsed = this.#parts.clock.monotonic();
    else if (this.#inbox.pushAsk(item)) this.#kick();
    else this.#handler.turnAway(item, "actor.overloaded");
  }

  /** Handles what its inbox was given with. Resolves when it has handled something, or has loaded and found no work. */
  start(): Promise<void> {
    this.#kick();
    return this.#started;
  }

  /** Loads the record, sends its open outbox again and starts its open effects again. Resolves when that is over. */
  recover(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#recovering = true;
    return new Promise((resolve) => {
      this.#recoveries.push(resolve);
      this.#kick();
    });
  }

  /** Nothing to do and no effect open, for so long. */
  isIdle(forMs: number): boolean {
    const { clock } = this.#parts;
    return (
      !this.#isBusy && clock.monotonic() - this.#lastUsed >= forMs && this.#keeper.openEffects === 0
    );
  }

  /** Closes an idle activation, its record tidy; `leave` takes it out of its host (A3). Does nothing if work came in. */
  async passivate(leave: () => void): Promise<boolean> {
    if (this.#isBusy || this.#closed) return false;
    await this.#exclusively(() => this.#keeper.tidy());
    if (this.#isBusy || this.#closed || this.#keeper.openEffects > 0) return false;
    this.close();
    leave();
    return true;
  }

  /** Begins nothing more (A2). Asks are sent elsewhere; mail stays with the broker. */
  close(): void {
    this.#closed = true;
    for (const resolve of this.#recoveries.splice(0)) resolve();
    this.#turnAway();
    this.#hasStarted();
    this.#wake?.();
  }

  /** Resolves when nothing is being handled. */
  ended(): Promise<void> {
    if (!this.#running) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiters.push(resolve);
    });
  }

  get #isBusy(): boolean {
    return this.#running || this.#recovering || this.#inbox.size > 0;
  }

  #turnAway(): void {
    this.#refuse(
      () => true,
      () => new BerthError("actor.moved"),
    );
    this.#inbox.dropMail();
  }

  #refuse(test: (ask: AskItem) => boolean, error: (ask: AskItem) => BerthError): void {
    for (const ask of this.#inbox.removeAsks(test)) answerError(ask, error(ask));
  }

  /** Undefined while the actor is active, and before its record is loaded: the handler looks again after that. */
  #standing(now: number): Standing | undefined {
    return standingAt(this.#keeper.loaded?.record.standing, now);
  }

  #kick(): void {
    this.#wake?.();
    if (!this.#running && !this.#closed) void this.#run();
  }

  async #run(): Promise<void> {
    await this.#exclusively(() => this.#loop());
    if (!this.#isBusy && !this.#closed) this.#idle?.(this);
  }

  /** A1. Never rejects. */
  async #exclusively(work: () => Promise<void>): Promise<void> {
    const { clock, logger } = this.#parts;
    this.#running = true;
    try {
      await work();
    } catch (thrown) {
      this.#keeper.forget();
      logger.warn({ err: thrown, actor: refName(this.ref) }, "an activation was disturbed");
    }
    this.#running = false;
    this.#activity.rest();
    this.#lastUsed = clock.monotonic();
    if (this.#closed) this.#turnAway();
    for (const resolve of this.#waiters.splice(0)) resolve();
    if (this.#isBusy) this.#kick(); // What came in after the work had looked for the last time.
  }

  async #loop(): Promise<void> {
    const { clock, pace } = this.#parts;
    while (!this.#closed) {
      if (pace.isSpent) await pace.rest();
      const now = clock.now();
      this.#refill.start(openedLanes(this.#standing(now)));
      const open = new Set(this.#take(now));
      this.#open = open;
      if (open.size > 0 || this.#recovering) {
        await this.#handle(open);
        continue;
      }
      if (this.#keeper.loaded) this.#hasStarted();
      if (this.#inbox.size === 0) return;
      await this.#waitForMore(now);
    }
  }

  async #handle(open: Set<Item>): Promise<void> {
    try {
      const handled = await this.#handler.handle(open);
      this.#recovered();
      this.#hasStarted();
      this.#pauseMs = FIRST_PAUSE_MS;
      if (!handled) await this.#waitForMore(this.#parts.clock.now());
      // Memory of a record that does not exist is fenced by nothing (K1): read it again next time.
      if (this.#keeper.loaded?.revision === 0) this.#keeper.forget();
    } catch (thrown) {
      await this.#disturbed(open, asBerthError(thrown));
    }
  }

  #take(now: number): Item[] {
    const late = (ask: AskItem) => ask.request.deadline <= now;
    this.#refuse(late, () => new BerthError("ask.timeout"));
    const standing = this.#standing(now);
    if (standing) {
      const refused = (ask: AskItem) => this.#handler.isRefused(ask, standing);
      this.#refuse(refused, (ask) => this.#handler.refusal(ask, standing, now));
    }
    const limit = this.#handler.isCareful ? 1 : MAX_BATCH;
    const ready = (ask: AskItem) => this.#handler.isReady(ask);
    return this.#inbox.take(limit, now, ready, openedLanes(standing));
  }

  /** Held-back mail, asks that wait for mail, or a stop that ends: whichever comes first, bounded. */
  async #waitForMore(now: number): Promise<void> {
    if (this.#closed) return;
    this.#activity.enter("waiting");
    const standing = this.#standing(now);
    const next = Math.min(
      this.#inbox.nextAt(openedLanes(standing)) ?? Number.POSITIVE_INFINITY,
      standing?.until ?? Number.POSITIVE_INFINITY,
    );
    const longest = standing ? MAX_STANDING_WAIT_MS : MAX_WAIT_MS;
    await new Promise<void>((resolve) => {
      const ms = Math.max(1, Math.min(next - now, longest));
      const cancel = this.#parts.clock.after(ms, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
    this.#wake = undefined;
  }

  #recovered(): void {
    this.#recovering = false;
    for (const resolve of this.#recoveries.splice(0)) resolve();
  }

  /** Puts things right, then lets the broker recover before the next try. */
  async #disturbed(open: Set<Item>, error: BerthError): Promise<void> {
    const { clock, logger, signal } = this.#parts;
    this.#activity.failed(error);
    const gone = this.#closed || signal.aborted;
    if (!gone) {
      logger.warn(
        { err: error, actor: refName(this.ref), waiting: this.#inbox.size },
        "a turn could not be committed; trying again",
      );
    }
    // A commit of unknown fate: if it was stored, its outbox waits to be sent.
    if (error.code === "ask.timeout") this.#recovering = true;
    try {
      await this.#handler.disturbed(open, error, gone);
    } catch {
      this.#inbox.putBack(open); // Not even a dead letter could be stored: the broker is away.
    }
    this.#activity.enter("recovering");
    this.#pausedUntil = clock.now() + this.#pauseMs;
    await clock.sleep(this.#pauseMs, signal);
    this.#pauseMs = Math.min(MAX_PAUSE_MS, this.#pauseMs * 2);
  }
}
