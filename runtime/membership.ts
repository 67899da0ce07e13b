/**
 * The view of live nodes and of who owns each partition, and this node's part in it. There is no
 * coordinator: every node computes the same placement and claims what is its own.
 *
 * Invariants:
 * N1 A partition is claimed by compare-and-set on its key, with an epoch one higher than before (R1).
 * N2 A claim is made only when the last owner released it, its lease is gone, or it is an earlier run of us.
 * N3 A partition is released only after its host has drained, so that its next owner never runs beside it.
 */
import { z } from "zod";
import { asBerthError } from "../protocols/errors.ts";
import {
  type NodeRecord,
  nodeRecordSchema,
  type PartitionRecord,
  partitionRecordSchema,
} from "../protocols/records.ts";
import type { Clock } from "./clock.ts";
import type { Logger } from "./logger.ts";
import type { Metrics } from "./metrics.ts";
import { decideOwner } from "./placement.ts";
import type { KeyEntry, Transport, Watch } from "./transport.ts";

/** What a node does with a partition it owns; `PartitionHost` is the real one. */
export interface HostedPartition {
  drain(withinMs: number): Promise<void>;
  close(): Promise<void>;
}

interface Collaborators {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly nodeId: string;
  readonly incarnation: string;
  readonly handoverMs: number;
  readonly host: (partition: number, epoch: number) => Promise<HostedPartition>;
}

export interface PartitionView {
  readonly self: string;
  readonly incarnation: string;
  readonly holding: boolean;
  readonly claim: PartitionRecord | undefined;
  /** Live nodes by id. */
  readonly nodes: ReadonlyMap<string, NodeRecord>;
}

/** What to do about one partition, from one view. Pure. */
export function decidePartition(
  partition: number,
  view: PartitionView,
): "claim" | "release" | "abandon" | "keep" {
  const { claim, holding, incarnation, nodes, self } = view;
  const mine = claim?.node === self && claim.incarnation === incarnation;
  const candidates = [...nodes.values()].filter((node) => !node.draining).map((node) => node.id);
  const owner = decideOwner(partition, candidates);
  if (holding) {
    if (!mine) return "abandon";
    return owner === undefined || owner === self ? "keep" : "release";
  }
  if (owner !== self) return "keep";
  if (!claim?.node || mine) return "claim";
  const holder = nodes.get(claim.node);
  return holder && holder.incarnation === claim.incarnation ? "keep" : "claim"; // N2
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
/** Looks at everything this often even if no watch says anything. */
const RECHECK_MS = 1_000;

export class Membership {
  readonly #parts: Collaborators;
  readonly #nodes = new Map<string, NodeRecord>();
  readonly #claims = new Map<
    number,
    { readonly record: PartitionRecord; readonly revision: number }
  >();
  readonly #hosted = new Map<number, HostedPartition>();
  readonly #stop = new AbortController();
  #watches: Watch[] = [];
  #active = false;
  #wake: (() => void) | undefined;
  #dirty = true;
  #loop: Promise<void> = Promise.resolve();

  constructor(parts: Collaborators) {
    this.#parts = parts;
  }

  get nodes(): NodeRecord[] {
    return [...this.#nodes.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1));
  }

  get held(): number[] {
    return [...this.#hosted.keys()].toSorted((a, b) => a - b);
  }

  async start(): Promise<void> {
    const { buckets } = this.#parts.transport;
    this.#watches = [
      await buckets.watch("nodes", (entry) => this.#onNode(entry)),
      await buckets.watch("partitions", (entry) => this.#onPartition(entry)),
    ];
    this.#loop = this.#run();
  }

  /** Whether this node takes part: true from when it holds a lease. */
  setActive(active: boolean): void {
    this.#active = active;
    this.#changed();
  }

  /** Gives up everything at once: the lease is gone, others may own it already. */
  async abandonAll(): Promise<void> {
    this.#active = false;
    await Promise.all([...this.#hosted.keys()].map((partition) => this.#abandon(partition)));
  }

  /** Another owner has written: the host of this partition must stop. */
  fenced(partition: number): void {
    this.#parts.metrics.count("berth_fences_total");
    this.#abandon(partition).catch((thrown: unknown) => {
      this.#parts.logger.error(
        { err: thrown, partition },
        "a fenced partition could not be closed",
      );
    });
  }

  /** Hands everything over: drains every host and frees its claim. Bounded by the hand-over time. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#wake?.();
    await this.#loop;
    await Promise.all([...this.#hosted.keys()].map((partition) => this.#release(partition)));
    await Promise.all(this.#watches.map((watch) => watch.close()));
  }

  /** Ends without a word, as a crash would: claims stay, hosts close. */
  async abort(): Promise<void> {
    this.#stop.abort();
    this.#wake?.();
    await this.#loop;
    await this.abandonAll();
    await Promise.all(this.#watches.map((watch) => watch.close()));
  }

  #changed(): void {
    this.#dirty = true;
    this.#wake?.();
  }

  #onNode({ key, value }: KeyEntry): void {
    const parsed = value ? nodeRecordSchema.safeParse(parse(value)) : undefined;
    if (parsed?.success) this.#nodes.set(key, parsed.data);
    else this.#nodes.delete(key);
    this.#changed();
  }

  #onPartition({ key, revision, value }: KeyEntry): void {
    const partition = z.coerce.number().int().parse(key);
    const known = this.#claims.get(partition);
    if (known && known.revision >= revision) return;
    const parsed = value ? partitionRecordSchema.safeParse(parse(value)) : undefined;
    if (parsed?.success) this.#claims.set(partition, { record: parsed.data, revision });
    this.#changed();
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      if (this.#dirty && this.#active) {
        this.#dirty = false;
        await this.#reconcile();
      }
      if (!this.#dirty || !this.#active) await this.#nap();
    }
  }

  async #nap(): Promise<void> {
    const nap = new AbortController();
    this.#wake = () => nap.abort();
    await this.#parts.clock.sleep(RECHECK_MS, nap.signal);
    this.#wake = undefined;
    this.#dirty = true;
  }

  async #reconcile(): Promise<void> {
    const { incarnation, logger, nodeId, transport } = this.#parts;
    const moves: Promise<void>[] = [];
    for (let partition = 0; partition < transport.partitions; partition += 1) {
      const verdict = decidePartition(partition, {
        self: nodeId,
        incarnation,
        holding: this.#hosted.has(partition),
        claim: this.#claims.get(partition)?.record,
        nodes: this.#nodes,
      });
      if (verdict === "claim") moves.push(this.#claim(partition));
      else if (verdict === "release") moves.push(this.#release(partition));
      else if (verdict === "abandon") moves.push(this.#abandon(partition));
    }
    for (const move of await Promise.allSettled(moves)) {
      if (move.status === "fulfilled") continue;
      this.#dirty = true;
      const error = asBerthError(move.reason);
      if (error.code !== "record.conflict")
        logger.warn({ err: error }, "a partition could not be moved; trying again");
      await this.#parts.clock.sleep(100, this.#stop.signal);
    }
  }

  async #claim(partition: number): Promise<void> {
    const { host, incarnation, logger, metrics, nodeId } = this.#parts;
    const known = this.#claims.get(partition);
    const epoch = (known?.record.epoch ?? 0) + 1; // N1
    await this.#write(partition, { epoch, node: nodeId, incarnation }, known?.revision ?? 0);
    this.#hosted.set(partition, await host(partition, epoch));
    metrics.count("berth_takeovers_total");
    logger.debug({ partition, epoch }, "took a partition");
  }

  async #release(partition: number): Promise<void> {
    const hosted = this.#hosted.get(partition);
    if (!hosted) return;
    await hosted.drain(this.#parts.handoverMs); // N3
    this.#hosted.delete(partition);
    const claim = this.#claims.get(partition);
    if (!claim || claim.record.node !== this.#parts.nodeId) return;
    await this.#write(
      partition,
      { epoch: claim.record.epoch, node: null, incarnation: null },
      claim.revision,
    );
    this.#parts.logger.debug({ partition }, "released a partition");
  }

  async #abandon(partition: number): Promise<void> {
    const hosted = this.#hosted.get(partition);
    this.#hosted.delete(partition);
    await hosted?.close();
    this.#changed();
  }

  async #write(partition: number, record: PartitionRecord, expected: number): Promise<void> {
    const value = encoder.encode(JSON.stringify(record));
    const { buckets } = this.#parts.transport;
    const revision = await buckets.put("partitions", String(partition), value, { expected });
    this.#claims.set(partition, { record, revision });
  }
}

function parse(value: Uint8Array): unknown {
  try {
    return JSON.parse(decoder.decode(value));
  } catch {
    return undefined;
  }
}
