/**
 * One live actor on this node: its inbox, its loaded record, one turn at a time.
 *
 * Invariants:
 * A1 Only one loop runs per activation; a turn never overlaps another of the same actor.
 * A2 Nothing leaves (reply, mail, effect, acknowledgement) before the commit that holds it is stored (R2, R3).
 * A3 The next commit starts after the outbox of the last is stored, so that receivers see the sent order (R4).
 * A4 A record of an older epoch is written again under ours before its state is served from memory: from then
 *    on the commit of any earlier owner fails (R1).
 * A5 After a failed compare-and-set nothing of the memory is used: the record is loaded again.
 */
import { asBerthError, BerthError } from "../protocols/errors.ts";
import type { ActorRef } from "../protocols/ids.ts";
import { PLATFORM_TENANT, refName } from "../protocols/ids.ts";
import type { ActorDefinition } from "./actor.ts";
import type { Clock } from "./clock.ts";
import { commitRecord } from "./commit.ts";
import type { EffectRunner } from "./effects.ts";
import { decideFailure, type FailureAction } from "./failure.ts";
import type { Gate } from "./gate.ts";
import type { AskItem, Item, MailItem } from "./inbox.ts";
import { Inbox } from "./inbox.ts";
import { type Loaded, loadRecord, nextRecord } from "./loaded.ts";
import type { Logger } from "./logger.ts";
import type { Metrics } from "./metrics.ts";
import type { Outbox } from "./outbox.ts";
import { encodeRecord, isPending } from "./record.ts";
import { Stage } from "./stage.ts";
import type { Mail, Transport } from "./transport.ts";
import { runTurn } from "./turn.ts";

export interface ActivationParts {
  readonly ref: ActorRef;
  readonly definition: ActorDefinition;
  readonly transport: Transport;
  readonly outbox: Outbox;
  readonly effects: EffectRunner;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly random: () => number;
  /** Names this run of this node in records. */
  readonly writer: string;
  readonly epoch: number;
  /** Whether this node may still answer from memory. */
  readonly leaseValid: () => boolean;
  /** Called when the broker shows that another owner has written. */
  readonly fenced: () => void;
  /** Bounds how many records a node loads at once. */
  readonly gate: Gate;
  /** Aborts when the partition is given up. */
  readonly signal: AbortSignal;
}

/** Turns that share one commit at most: bounds the size of a record's outbox and the wait of a reply. */
const MAX_BATCH = 64;
/** Asks one activation holds (R7). */
const ASK_CAPACITY = 1_000;
const NO_CAUSE = { id: undefined, traceparent: undefined };
const FIRST_PAUSE_MS = 20;
const MAX_PAUSE_MS = 1_000;

interface Done {
  readonly item: Item;
  readonly reply: unknown;
}

export class Activation {
  readonly #parts: ActivationParts;
  readonly #inbox = new Inbox(ASK_CAPACITY);
  readonly #failedAt: number[] = [];
  readonly #activeSince: number;
  #loaded: Loaded | undefined;
  #running = false;
  #closed = false;
  /** Items left to handle one by one, because one of their batch threw. */
  #careful = 0;
  #stoppedUntil = 0;
  #pauseMs = FIRST_PAUSE_MS;
  #wake: (() => void) | undefined;
  #idle: (() => void)[] = [];
  #lastUsed: number;

  constructor(parts: ActivationParts) {
    this.#parts = parts;
    this.#activeSince = parts.clock.now();
    this.#lastUsed = parts.clock.monotonic();
  }

  get ref(): ActorRef {
    return this.#parts.ref;
  }

  get waiting(): number {
    return this.#inbox.size;
  }

  /** What a person may see of it: no state, for that may be private. */
  describe(): {
    actor: string;
    waiting: number;
    running: boolean;
    stopped: boolean;
    effects: number;
    revision: number;
  } {
    return {
      actor: refName(this.ref),
      waiting: this.#inbox.size,
      running: this.#running,
      stopped: this.#stoppedUntil > this.#parts.clock.now(),
      effects: Object.keys(this.#loaded?.record.effects ?? {}).length,
      revision: this.#loaded?.revision ?? 0,
    };
  }

  pushMail(mail: Mail): void {
    this.#inbox.pushMail(mail);
    this.#kick();
  }

  pushAsk(item: AskItem): void {
    if (this.#inbox.pushAsk(item)) this.#kick();
    else item.respond({ ok: false, error: new BerthError("actor.overloaded").toWire() });
  }

  /** Loads the record, sends its open outbox again and starts its open effects again. */
  recover(): void {
    this.#recovering = true;
    this.#kick();
  }
  #recovering = false;

  touch(): void {
    this.#inbox.touch();
  }

  isIdle(forMs: number): boolean {
    return (
      !this.#running &&
      this.#inbox.size === 0 &&
      this.#parts.clock.monotonic() - this.#lastUsed >= forMs
    );
  }

  /** Leaves memory if nothing is open. False when something came in between or effects still run. */
  async passivate(): Promise<boolean> {
    if (this.#running || this.#inbox.size > 0) return false;
    const loaded = this.#loaded;
    if (!loaded || !isPending(loaded.record)) return true;
    if (Object.keys(loaded.record.effects).some((id) => !loaded.ended.has(id))) return false;
    this.#running = true;
    try {
      await this.#commit(loaded, this.#stage(loaded), true);
      return this.#inbox.size === 0;
    } catch (thrown) {
      this.#parts.logger.debug(
        { err: thrown, actor: refName(this.ref) },
        "clearing a record failed",
      );
      this.#loaded = undefined;
      return false;
    } finally {
      this.#running = false;
      if (this.#inbox.size > 0) this.#kick();
    }
  }

  /** Resolves when nothing is being handled and nothing that can be handled waits. */
  quiesced(): Promise<void> {
    if (!this.#running && this.#inbox.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle.push(resolve);
    });
  }

  /** Stops at the next safe point. Asks are sent elsewhere; mail stays with the broker. */
  close(): void {
    this.#closed = true;
    this.#refuse(() => true, new BerthError("actor.moved"));
    this.#inbox.dropMail();
    this.#wake?.();
    this.#settle();
  }

  #kick(): void {
    this.#wake?.();
    if (this.#running || this.#closed) return;
    this.#running = true;
    this.#loop()
      .catch((thrown: unknown) => {
        this.#parts.logger.error(
          { err: thrown, actor: refName(this.ref) },
          "an activation's loop failed",
        );
      })
      .finally(() => {
        this.#running = false;
        this.#lastUsed = this.#parts.clock.monotonic();
        this.#settle();
        // What came in after the loop had looked for the last time.
        if (this.#inbox.size > 0) this.#kick();
      });
  }

  #settle(): void {
    if (this.#inbox.size > 0 && !this.#closed) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  async #loop(): Promise<void> {
    const { clock } = this.#parts;
    while (!this.#closed) {
      const now = clock.now();
      this.#refuse((ask) => ask.request.deadline <= now, new BerthError("ask.timeout"));
      if (this.#stoppedUntil > now) this.#refuse(() => true, new BerthError("actor.stopped"));
      const limit = this.#stoppedUntil > now ? 0 : this.#careful > 0 ? 1 : MAX_BATCH;
      const batch = this.#inbox.take(limit, now, (ask) => this.#isAskReady(ask));
      if (batch.length === 0 && !this.#recovering) {
        if (this.#inbox.size === 0) return;
        await this.#waitForMore(now);
        continue;
      }
      try {
        await this.#handle(batch);
        this.#recovering = false;
        this.#pauseMs = FIRST_PAUSE_MS;
      } catch (thrown) {
        await this.#disturbed(batch, asBerthError(thrown));
      }
    }
  }

  /** Held-back mail, asks that wait for mail, or a stop that ends: whichever comes first, bounded. */
  async #waitForMore(now: number): Promise<void> {
    const next = Math.max(this.#inbox.nextAt() ?? now + MAX_PAUSE_MS, this.#stoppedUntil);
    const ms = Math.max(1, Math.min(next - now, MAX_PAUSE_MS));
    await new Promise<void>((resolve) => {
      const cancel = this.#parts.clock.after(ms, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
    this.#wake = undefined;
  }

  /** R4: an ask waits for the sender's earlier tells. Before the record is loaded nobody knows; then it is tried. */
  #isAskReady(ask: AskItem): boolean {
    const after = ask.request.after;
    const cursor = this.#loaded?.record.cursor;
    if (!after || !cursor) return !after || this.#inbox.nextAt() === undefined;
    return Object.entries(after).every(([lane, seq]) => (cursor[lane] ?? 0) >= seq);
  }

  #refuse(test: (ask: AskItem) => boolean, error: BerthError): void {
    for (const ask of this.#inbox.removeAsks(test))
      ask.respond({ ok: false, error: error.toWire() });
  }

  async #load(): Promise<Loaded> {
    if (this.#loaded) return this.#loaded;
    const { gate, metrics, epoch } = this.#parts;
    const loaded = await gate.pass(() => loadRecord(this.#parts));
    metrics.count("berth_activations_total", { kind: this.ref.kind });
    if (loaded.record.epoch > epoch) {
      this.#parts.fenced();
      throw new BerthError("lease.lost", "another owner has written with a later epoch");
    }
    await this.#publish(loaded);
    if (loaded.revision > 0 && loaded.record.epoch < epoch) {
      await this.#commit(loaded, this.#stage(loaded), true); // A4
    }
    this.#loaded = loaded;
    this.#startEffects(loaded, Object.entries(loaded.record.effects));
    return loaded;
  }

  #stage(loaded: Loaded): Stage {
    return new Stage(this.ref, loaded.record, loaded.state);
  }

  async #handle(batch: readonly Item[]): Promise<void> {
    const { clock, definition, leaseValid, logger } = this.#parts;
    const loaded = await this.#load();
    const early = batch.filter((item) => item.type === "ask" && !this.#isAskReady(item));
    const items = early.length === 0 ? batch : batch.filter((item) => !early.includes(item));
    if (early.length > 0) this.#inbox.putBack(early);
    if (items.length === 0) {
      if (early.length > 0) await this.#waitForMore(clock.now());
      return;
    }
    const stage = this.#stage(loaded);
    const now = clock.now();
    const turn = {
      definition,
      self: this.ref,
      record: loaded.record,
      exists: loaded.revision > 0,
      stage,
      now,
      activeForMs: now - this.#activeSince,
      log: logger,
    };
    const done: Done[] = [];
    let writes = false;
    for (const item of items) {
      try {
        done.push({ item, reply: runTurn(turn, item) });
        writes ||= item.type === "mail" || !item.def.readOnly;
      } catch (thrown) {
        loaded.state = loaded.parseState();
        if (done.length > 0) this.#alone(items);
        else await this.#failed(loaded, item, thrown, items.slice(1));
        return;
      }
    }
    if (writes) await this.#commit(loaded, stage, false);
    else if (!leaseValid()) throw new BerthError("lease.lost");
    await this.#finish(loaded, stage, done);
    this.#careful = Math.max(0, this.#careful - items.length);
    // Memory of a record that does not exist is not fenced by anything (A4): read it again next time.
    if (loaded.revision === 0) this.#loaded = undefined;
  }

  /** One of several threw: none has left yet, so all are handled again, one commit each. */
  #alone(items: readonly Item[]): void {
    this.#inbox.putBack(items);
    this.#careful = items.length;
  }

  async #finish(loaded: Loaded, stage: Stage, done: readonly Done[]): Promise<void> {
    const { metrics } = this.#parts;
    await this.#publish(loaded);
    this.#startEffects(loaded, stage.newEffects);
    for (const { type, name, value, labels } of stage.metrics) {
      if (type === "count") metrics.count(name, labels, value);
      else metrics.observe(name, value, labels);
    }
    for (const { item, reply } of done) {
      if (item.type === "mail") item.mail.ack();
      else item.respond({ ok: true, payload: reply ?? {} });
    }
    metrics.count("berth_turns_total", { kind: this.ref.kind }, done.length);
  }

  /** Writes if anything changed, or if `force`. On return the record in memory is the stored one. */
  async #commit(loaded: Loaded, stage: Stage, force: boolean): Promise<void> {
    const { clock, definition, epoch, metrics, signal, transport, writer } = this.#parts;
    const stateJson = JSON.stringify(stage.state);
    if (!force && !stage.touched && stateJson === loaded.stateJson) return;
    const journaled = definition.behaviour.journaled ?? false;
    const record = nextRecord(loaded, stage, { epoch, writer, journaled });
    const startedAt = clock.monotonic();
    try {
      const revision = await commitRecord(
        { records: transport.records, clock, signal },
        {
          ref: this.ref,
          data: encodeRecord(record, stateJson),
          expected: loaded.revision,
          journaled,
          pending: isPending(record),
          writer,
          commit: record.commit,
        },
      );
      loaded.stored(record, revision, stateJson, stage.state);
    } catch (thrown) {
      this.#loaded = undefined; // A5
      if (asBerthError(thrown).code === "record.conflict")
        metrics.count("berth_commit_conflicts_total", { kind: this.ref.kind });
      throw thrown;
    }
    metrics.observe("berth_commit_seconds", (clock.monotonic() - startedAt) / 1_000);
  }

  async #publish(loaded: Loaded): Promise<void> {
    if (loaded.published || loaded.record.outbox.length === 0) return;
    await this.#parts.outbox.publish(this.ref, loaded.record.outbox, this.#parts.signal);
    loaded.published = true;
  }

  #startEffects(
    loaded: Loaded,
    effects: Iterable<[string, Loaded["record"]["effects"][string]]>,
  ): void {
    const { definition, signal } = this.#parts;
    for (const [id, effect] of effects) {
      this.#parts.effects.start(definition.protocol, this.ref, id, effect, {
        signal,
        ended: () => loaded.ended.add(id),
      });
    }
  }

  /** A handler threw and nothing else is on the stage: its reply or its supervision (R5). */
  async #failed(loaded: Loaded, item: Item, thrown: unknown, rest: readonly Item[]): Promise<void> {
    this.#inbox.putBack(rest);
    const error = asBerthError(thrown, "actor.failed");
    const { clock, definition, logger, metrics, random } = this.#parts;
    if (item.type === "ask" && thrown instanceof BerthError) {
      item.respond({ ok: false, error: error.toWire() });
      return;
    }
    const now = clock.now();
    const action = decideFailure(
      definition.behaviour.supervision,
      item,
      error,
      this.#failedAt,
      now,
      random(),
    );
    this.#failedAt.push(now);
    if (this.#failedAt.length > MAX_BATCH) this.#failedAt.shift();
    metrics.count("berth_turn_failures_total", { kind: this.ref.kind, action: action.action });
    logger.warn(
      { err: error, actor: refName(this.ref), action: action.action },
      "a handler failed",
    );
    await this.#act(loaded, item, error, action);
  }

  async #act(loaded: Loaded, item: Item, error: BerthError, action: FailureAction): Promise<void> {
    const now = this.#parts.clock.now();
    if (action.action === "dead-letter-and-stop") this.#stoppedUntil = now + action.forMs;
    const escalate = action.action === "dead-letter-and-stop" && action.escalate;
    if (item.type === "ask") {
      item.respond({ ok: false, error: new BerthError("actor.failed", error.message).toWire() });
      if (!escalate) return;
      const stage = this.#stage(loaded);
      this.#escalate(stage, error, now);
      await this.#commit(loaded, stage, false);
      await this.#finish(loaded, stage, []);
      return;
    }
    item.attempts += 1;
    if (action.action === "retry") {
      item.notBefore = now + action.afterMs;
      this.#inbox.putBack([item]);
      this.#loaded = undefined;
      return;
    }
    await this.#bury(loaded, item, error, now, escalate);
  }

  #escalate(stage: Stage, error: BerthError, now: number): void {
    const target = this.#parts.definition.behaviour.supervision?.escalateTo;
    if (!target) return;
    const { protocol, key, message } = target;
    const tenant = protocol.platform ? PLATFORM_TENANT : this.ref.tenant;
    const payload = { child: refName(this.ref), code: error.code, message: error.message };
    stage.tell({ kind: protocol.kind, tenant, key }, "control", message, payload, NO_CAUSE, now);
  }

  /** The poison message goes to the dead letters in the same commit that moves the cursor past it (R2). */
  async #bury(
    loaded: Loaded,
    item: MailItem,
    error: BerthError,
    now: number,
    escalate = false,
  ): Promise<void> {
    const { mail, attempts } = item;
    const stage = this.#stage(loaded);
    if (escalate) this.#escalate(stage, error, now);
    const envelope = "due" in mail.envelope ? mail.envelope.due : mail.envelope;
    stage.add({
      op: "dead",
      letter: {
        id: `${envelope.id}@${mail.seq}`,
        actor: this.ref,
        lane: mail.lane === "due" ? "user" : mail.lane,
        envelope,
        reason: { code: error.code, message: error.message },
        epoch: this.#parts.epoch,
        attempts,
        at: now,
      },
    });
    stage.advance(mail.lane, mail.seq);
    await this.#commit(loaded, stage, false);
    await this.#finish(loaded, stage, [{ item, reply: undefined }]);
    this.#parts.metrics.count("berth_dead_letters_total", { kind: this.ref.kind });
  }

  /** The infrastructure failed, not the handler: nothing of the batch has left, so it is handled again. */
  async #disturbed(batch: readonly Item[], error: BerthError): Promise<void> {
    this.#loaded = undefined;
    const { clock, logger, signal } = this.#parts;
    if (signal.aborted || error.code === "lease.lost") {
      for (const item of batch) {
        if (item.type === "ask")
          item.respond({ ok: false, error: new BerthError("actor.moved").toWire() });
      }
      this.#inbox.putBack(batch.filter((item) => item.type === "mail"));
    } else if (error.retry === "never" && batch.length === 1) {
      await this.#hopeless(batch, error);
      return;
    } else {
      this.#inbox.putBack(batch);
      if (error.retry === "never") this.#careful = batch.length;
    }
    logger.warn(
      { err: error, actor: refName(this.ref), waiting: this.#inbox.size },
      "a turn could not be committed; trying again",
    );
    await clock.sleep(this.#pauseMs, signal);
    this.#pauseMs = Math.min(MAX_PAUSE_MS, this.#pauseMs * 2);
  }

  /** The broker refuses this very commit (too large): the message cannot be handled, ever. */
  async #hopeless(batch: readonly Item[], error: BerthError): Promise<void> {
    const [item] = batch;
    if (item?.type === "ask") {
      item.respond({ ok: false, error: error.toWire() });
    } else if (item) {
      const loaded = await this.#load().catch(() => undefined);
      if (loaded)
        await this.#bury(loaded, item, error, this.#parts.clock.now()).catch(() =>
          this.#inbox.putBack([item]),
        );
      else this.#inbox.putBack([item]);
    }
  }
}
