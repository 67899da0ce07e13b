/**
 * What an owner does so that nothing of the owners before it is left undone, and what it writes so that the next one has
 * little to do.
 *
 * Invariants:
 * V1 An outbox is left out only when its writer's checkpoint, or this owner's own watermark, says that it is sent (R2).
 * V2 A checkpoint that is missing, old or not written costs more sending again, and nothing else (R3).
 * V3 A look at every record comes a little after the first, for a commit of the last owner may have been on its way.
 *    Only then are older owners' commits called sent.
 * V4 Work of kinds that this node does not know is left for a node that does: it stays in the checkpoint.
 */

import { asBerthError } from "../protocols/errors.ts";
import { type ActorRef, parseRefName, refName } from "../protocols/ids.ts";
import {
  type Checkpoint,
  checkpointOf,
  checkpointSchema,
  highest,
  isSent,
  NO_CHECKPOINT,
  settled,
} from "./checkpoint.ts";
import type { Clock } from "./clock.ts";
import type { Gate } from "./gate.ts";
import type { Logger } from "./logger.ts";
import type { OpenRecord, Place, Transport } from "./transport.ts";
import { Watermark } from "./watermark.ts";

export interface RecoveryParts {
  readonly partition: number;
  readonly epoch: number;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Lets the partitions of a node look at all their records one after the other. */
  readonly scans: Gate;
  /** Aborts when the partition is given up. */
  readonly signal: AbortSignal;
  /** Loads the actor, which sends and starts what is open; false when this node does not know its kind. */
  readonly recover: (ref: ActorRef) => Promise<boolean>;
}

const FIRST_PAUSE_MS = 200;
const LOOK_AGAIN_MS = 10_000;
const CHECKPOINT_MS = 1_000;
/** Actors that are recovered at once: they are activations in memory (R7). */
const AT_ONCE = 256;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class Recovery {
  readonly #parts: RecoveryParts;
  /** What the owners before are known to have done. */
  #before: Checkpoint = NO_CHECKPOINT;
  #found = false;
  #records = new Watermark(0);
  #journal = new Watermark(0);
  #isRecovered = false;
  #revision = 0;
  #written = "";
  #overtaken = false;

  constructor(parts: RecoveryParts) {
    this.#parts = parts;
  }

  watermark(journaled: boolean): Watermark {
    return journaled ? this.#journal : this.#records;
  }

  /** Whether the outbox of a record is known to be sent (V1). */
  isSent(record: {
    readonly epoch: number;
    readonly revision: number;
    readonly journaled: boolean;
  }): boolean {
    if (record.epoch < this.#parts.epoch) return isSent(this.#before, record);
    return (
      record.epoch === this.#parts.epoch && record.revision <= this.watermark(record.journaled).upTo
    );
  }

  /** Reads the last owner's checkpoint. Nothing may be loaded before. */
  async begin(): Promise<void> {
    const { partition, transport } = this.#parts;
    const entry = await transport.buckets.get("checkpoints", String(partition));
    if (!entry?.value) return;
    this.#revision = entry.revision;
    const found = parse(entry.value);
    if (!found) return; // V2
    this.#before = found;
    this.#found = true;
    const { records, journal } = highest(found);
    this.#records = new Watermark(records);
    this.#journal = new Watermark(journal);
  }

  /** Recovers, and writes checkpoints, until the signal aborts. Never rejects. */
  async run(): Promise<void> {
    const writing = this.#writeOn();
    await this.#recover();
    await this.#parts.clock.sleep(LOOK_AGAIN_MS, this.#parts.signal);
    await this.#lookAgain();
    await writing;
  }

  /** Writes the checkpoint if it says something new. Never rejects. */
  async checkpoint(): Promise<void> {
    if (this.#overtaken) return;
    const checkpoint = checkpointOf(this.#before, {
      epoch: this.#parts.epoch,
      records: this.#records,
      journal: this.#journal,
      isRecovered: this.#isRecovered,
    });
    const text = JSON.stringify(checkpoint);
    if (text === this.#written) return;
    try {
      await this.#put(text);
    } catch (thrown) {
      const { logger, partition } = this.#parts;
      logger.debug({ err: thrown, partition }, "a checkpoint was not written"); // V2
    }
  }

  async #put(text: string): Promise<void> {
    const { buckets } = this.#parts.transport;
    const key = String(this.#parts.partition);
    try {
      const expected = this.#revision;
      this.#revision = await buckets.put("checkpoints", key, encoder.encode(text), { expected });
      this.#written = text;
    } catch (thrown) {
      if (asBerthError(thrown).code !== "record.conflict") throw thrown;
      // A later owner's, or our own of which the answer was lost.
      const entry = await buckets.get("checkpoints", key);
      const last = entry?.value && parse(entry.value)?.sent.at(-1)?.epoch;
      this.#overtaken = typeof last === "number" && last > this.#parts.epoch;
      this.#revision = entry?.revision ?? 0;
    }
  }

  async #writeOn(): Promise<void> {
    const { clock, signal } = this.#parts;
    while (!signal.aborted) {
      await clock.sleep(CHECKPOINT_MS, signal);
      if (!signal.aborted) await this.checkpoint();
    }
  }

  /** The actors that the last owner's checkpoint leaves open, and what was written after it. */
  async #recover(): Promise<void> {
    const { clock, logger, partition, signal } = this.#parts;
    for (let pause = FIRST_PAUSE_MS; !signal.aborted; pause = Math.min(pause * 2, LOOK_AGAIN_MS)) {
      try {
        const after = this.#found ? this.#before.from : undefined;
        const named = this.#before.running.map(parseRefName);
        this.#isRecovered = await this.#recoverAll(named, after);
        return;
      } catch (thrown) {
        if (signal.aborted) return;
        logger.warn({ err: thrown, partition }, "recovering a partition failed; trying again");
        await clock.sleep(pause, signal);
      }
    }
  }

  /** V3. What is called sent was written before the first look at the latest. */
  async #lookAgain(): Promise<void> {
    const { epoch, logger, partition, scans, signal } = this.#parts;
    if (signal.aborted) return;
    const place = { records: this.#records.seen, journal: this.#journal.seen };
    try {
      const isDone = await scans.pass(() => this.#recoverAll([], undefined));
      if (!isDone || signal.aborted) return;
      this.#isRecovered = true;
      this.#before = settled(this.#before, epoch, place);
    } catch (thrown) {
      logger.warn({ err: thrown, partition }, "looking for late commits failed");
    }
  }

  /** Resolves when everything found is recovered, with whether nothing had to be left (V4). */
  async #recoverAll(named: Iterable<ActorRef>, after: Place | undefined): Promise<boolean> {
    const { logger, partition, signal, transport } = this.#parts;
    const underWay = new Set<Promise<void>>();
    let isAll = true;
    let count = 0;
    const recover = async (ref: ActorRef) => {
      if (!(await this.#parts.recover(ref))) isAll = false;
    };
    const begin = async (ref: ActorRef) => {
      count += 1;
      const work: Promise<void> = recover(ref).finally(() => underWay.delete(work));
      underWay.add(work);
      if (underWay.size >= AT_ONCE) await Promise.race(underWay);
    };
    const had = new Set<string>();
    for await (const found of transport.records.pending(partition, after)) {
      if (signal.aborted) return false;
      had.add(refName(found.ref));
      if (this.#isOpen(found)) await begin(found.ref);
    }
    for (const ref of named) if (!had.has(refName(ref))) await begin(ref);
    await Promise.all(underWay);
    if (count > 0) logger.info({ partition, actors: count }, "recovered open work");
    return isAll;
  }

  /** This owner's own records are in the hands of their activations. */
  #isOpen(found: OpenRecord): boolean {
    return found.epoch !== this.#parts.epoch && (found.effects || !this.isSent(found));
  }
}

function parse(data: Uint8Array): Checkpoint | undefined {
  try {
    return checkpointSchema.parse(JSON.parse(decoder.decode(data)));
  } catch {
    return undefined;
  }
}
