/**
 * The durable side of one activation: its record in memory, and the way from a stage to the broker.
 *
 * Invariants:
 * K1 A record of an older epoch is written again under ours before its state is used: from then on the commit
 *    of any earlier owner fails, so memory is never behind the broker (R1).
 * K2 After a commit that is not known to be stored nothing of the memory is used: the record is loaded again.
 * K3 The next commit starts after the outbox of the last is stored, so that receivers see the sent order (R4).
 */
import { asBerthError, BerthError } from "../protocols/errors.ts";
import { type ActorRef, refName } from "../protocols/ids.ts";
import type { Activity } from "./activity.ts";
import type { ActorDefinition } from "./actor.ts";
import type { Clock } from "./clock.ts";
import { commitRecord } from "./commit.ts";
import type { EffectRunner } from "./effects.ts";
import type { Gate } from "./gate.ts";
import type { OpenEffect } from "./inspection.ts";
import { type Loaded, loadRecord, nextRecord, type RecordHead } from "./loaded.ts";
import type { Metrics } from "./metrics.ts";
import type { Outbox } from "./outbox.ts";
import { encodeRecord, openWork, type PendingEffect } from "./record.ts";
import type { Recovery } from "./recovery.ts";
import { Stage } from "./stage.ts";
import type { OnStep } from "./steps.ts";
import type { Transport } from "./transport.ts";
import type { Watermark } from "./watermark.ts";

const NOTHING_OPEN = { outbox: false, effects: false };

export interface RecordKeeperParts {
  readonly ref: ActorRef;
  readonly definition: ActorDefinition;
  readonly transport: Transport;
  readonly outbox: Outbox;
  readonly effects: EffectRunner;
  readonly clock: Clock;
  readonly metrics: Metrics;
  /** Names this run of this node in records. */
  readonly writer: string;
  readonly epoch: number;
  /** Called with the epoch that was found when another owner has written under a later one. */
  readonly fenced: (epoch: number) => void;
  /** Knows which outboxes are sent, and is told of those to come. */
  readonly recovery: Pick<Recovery, "isSent" | "watermark">;
  /** Bounds how many records a node loads at once. */
  readonly gate: Gate;
  /** Aborts when the partition is given up. */
  readonly signal: AbortSignal;
  readonly onStep?: OnStep | undefined;
}

export class RecordKeeper {
  readonly #parts: RecordKeeperParts;
  readonly #activity: Activity;
  readonly #journaled: boolean;
  readonly #name: string;
  readonly #mark: Watermark;
  readonly #activeSince: number;
  /** Effects that are over and of which no message tells the actor: the next commit takes them out. */
  readonly #ended = new Set<string>();
  #loaded: Loaded | undefined;

  constructor(parts: RecordKeeperParts, activity: Activity) {
    this.#parts = parts;
    this.#activity = activity;
    this.#journaled = parts.definition.behaviour.journaled ?? false;
    this.#name = refName(parts.ref);
    this.#mark = parts.recovery.watermark(this.#journaled);
    this.#activeSince = parts.clock.now();
  }

  /** What is in memory; undefined before the first load and after a failure. */
  get loaded(): Loaded | undefined {
    return this.#loaded;
  }

  /** Effects whose tool has not ended. */
  get openEffects(): number {
    const ids = Object.keys(this.#loaded?.record.effects ?? {});
    return ids.filter((id) => !this.#ended.has(id)).length;
  }

  /** The same, for people. */
  describeEffects(): OpenEffect[] {
    const { effects } = this.#parts;
    const open = Object.entries(this.#loaded?.record.effects ?? {});
    return open
      .filter(([id]) => !this.#ended.has(id))
      .map(([id, { tool }]) => ({ id, tool, startedAt: effects.startedAt(id) }));
  }

  forget(): void {
    this.#loaded = undefined;
  }

  /** Loads the record if it is not in memory, sends what a crashed owner left unsent, starts what was open. */
  async load(): Promise<Loaded> {
    if (this.#loaded) return this.#loaded;
    const { epoch, fenced, gate, metrics, ref } = this.#parts;
    this.#activity.enter("loading");
    const loaded = await gate.pass(() => loadRecord(this.#parts));
    metrics.count("berth_activations_total", { kind: ref.kind });
    if (loaded.record.epoch > epoch) {
      fenced(loaded.record.epoch);
      throw new BerthError("lease.lost", "another owner has written under a later epoch");
    }
    const { epoch: writtenUnder } = loaded.record;
    const place = { epoch: writtenUnder, revision: loaded.revision, journaled: this.#journaled };
    loaded.published ||= this.#parts.recovery.isSent(place);
    await this.#publish(loaded, { again: true });
    if (loaded.revision > 0 && loaded.record.epoch < epoch) {
      await this.#claim(loaded);
    }
    this.#loaded = loaded;
    this.#start(Object.entries(loaded.record.effects));
    return loaded;
  }

  stage(loaded: Loaded): Stage {
    return new Stage(this.#parts.ref, loaded.record, loaded.state);
  }

  /** K1. Whatever becomes of this write, no message is in it: what waits is tried again. */
  async #claim(loaded: Loaded): Promise<void> {
    try {
      await this.#write(loaded, this.stage(loaded), loaded.state.json);
    } catch (thrown) {
      const error = asBerthError(thrown);
      if (error.code !== "ask.timeout") throw error;
      throw new BerthError("broker.unavailable", error.message, { cause: error });
    }
  }

  /** Stores what the stage has changed; false when it changed nothing. On return memory is what the broker has. */
  async commit(loaded: Loaded, stage: Stage, stateJson = stage.stateJson()): Promise<boolean> {
    if (!stage.touched && stateJson === loaded.state.json) {
      stage.keepState(stateJson);
      return false;
    }
    // Waiting for nothing costs a turn of the microtask queue, too.
    const { onStep, ref } = this.#parts;
    if (onStep) await onStep("handled", ref);
    await this.#write(loaded, stage, stateJson);
    if (onStep) await onStep("committed", ref);
    return true;
  }

  /** Sends what the last commit recorded, then ends and starts the effects of its stage. */
  async release(loaded: Loaded, stage: Stage): Promise<void> {
    const { onStep, ref } = this.#parts;
    if (!loaded.published) await this.#publish(loaded, { again: false });
    for (const id of stage.cancelledEffects) this.#parts.effects.cancel(id);
    this.#start(stage.newEffects);
    if (onStep) await onStep("published", ref);
  }

  /** Writes the record without what is over, so that no recovery scan finds it. */
  async tidy(): Promise<void> {
    const loaded = this.#loaded;
    if (!loaded || !openWork(loaded.record)) return;
    await this.#write(loaded, this.stage(loaded), loaded.state.json);
  }

  async #write(loaded: Loaded, stage: Stage, stateJson: string): Promise<void> {
    const { clock, epoch, metrics, ref, signal, transport, writer } = this.#parts;
    const journaled = this.#journaled;
    const now = clock.now();
    const by = { epoch, writer, journaled, now, ended: this.#ended };
    const record = nextRecord(loaded, stage, { ...by, activeForMs: now - this.#activeSince });
    const pending = openWork(record);
    if (pending) this.#mark.begun(this.#name);
    const startedAt = clock.monotonic();
    this.#activity.enter("committing");
    try {
      const revision = await commitRecord(
        { records: transport.records, clock, signal },
        {
          ref,
          data: encodeRecord(record, stateJson),
          expected: loaded.revision,
          journaled,
          pending,
          writer,
          commit: record.commit,
        },
      );
      loaded.stored(record, revision);
      this.#mark.stored(this.#name, revision, pending || NOTHING_OPEN);
      stage.keepState(stateJson);
      this.#dropEnded(record);
    } catch (thrown) {
      this.#loaded = undefined; // K2
      const { code, retry } = asBerthError(thrown);
      if (code === "record.conflict" || retry === "never") this.#mark.refused(this.#name);
      if (code === "record.conflict")
        metrics.count("berth_commit_conflicts_total", { kind: ref.kind });
      throw thrown;
    }
    metrics.observe("berth_commit_seconds", (clock.monotonic() - startedAt) / 1_000);
  }

  #dropEnded(record: RecordHead): void {
    for (const id of this.#ended) if (!(id in record.effects)) this.#ended.delete(id);
  }

  async #publish(loaded: Loaded, { again }: { readonly again: boolean }): Promise<void> {
    if (!loaded.published) {
      const { outbox, ref, signal } = this.#parts;
      const stored = this.#activity.publishing(loaded.record.outbox);
      await outbox.publish(ref, loaded.record.outbox, { again, signal }, stored);
      loaded.published = true;
    }
    this.#mark.sent(this.#name);
  }

  #start(effects: Iterable<[string, PendingEffect]>): void {
    const { definition, ref, signal } = this.#parts;
    for (const [id, effect] of effects) {
      if (this.#ended.has(id)) continue;
      const ended = () => this.#ended.add(id);
      this.#parts.effects.start(definition.protocol, ref, id, effect, { signal, ended });
    }
  }
}
