/**
 * Which partitions this node hosts. There is no coordinator: every node computes the same placement from the same
 * view and claims what is its own.
 *
 * Invariants:
 * N1 A partition is claimed by compare-and-set on its key, with an epoch higher than any seen before (R1).
 * N2 A claim is made only when the last owner released it, its lease is gone, or it is an earlier run of us. The
 *    view may be late, so the lease of a foreign holder is read again from the broker before the claim.
 * N3 A partition is released only after its host has drained, so that its next owner never runs beside it.
 * N4 One move of a partition runs at a time; moves of different partitions do not wait for each other.
 * N5 A host that opened under a lease that lapsed meanwhile, or that was fenced while it opened, is closed.
 * N6 A claim of ours without a host is given back, or hosted anew if it belongs here: others wait for it.
 * N7 While there is a hold everything is released, as in a drain, and nothing is claimed.
 */
import { asBerthError, BerthError } from "../protocols/errors.ts";
import type { NodeRecord, PartitionRecord } from "../protocols/records.ts";
import { atMost } from "./at-most.ts";
import type { Clock } from "./clock.ts";
import type { SeenLease } from "./failure-detector.ts";
import type { Logger } from "./logger.ts";
import { MembershipView } from "./membership-view.ts";
import type { Metrics } from "./metrics.ts";
import { decidePartition } from "./partition-view.ts";
import { sharedAbort } from "./shared-abort.ts";
import type { Transport } from "./transport.ts";

/** What a node does with a partition it owns; `PartitionHost` is the real one. */
export interface HostedPartition {
  readonly epoch: number;
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
  /** Our own lease is gone from the view. */
  readonly unseated: () => void;
}

const encoder = new TextEncoder();
/** Looks at everything this often even if no watch says anything. */
const RECHECK_MS = 1_000;
/** Compares its view with the buckets this often in any case. */
const REFRESH_MS = 10_000;
const RETRY_MS = 100;
/** Longest wait of a node that leaves for a word of the broker: without it the others see the lease go. */
const FAREWELL_MS = 1_000;

export class Membership {
  readonly #parts: Collaborators;
  readonly #view: MembershipView;
  readonly #hosted = new Map<number, HostedPartition>();
  /** Moves under way, by partition (N4). They never reject. */
  readonly #moves = new Map<number, Promise<void>>();
  /** The highest epoch under which another owner was seen to write. */
  readonly #seen = new Map<number, number>();
  readonly #stop = sharedAbort();
  #handoverMs: number;
  #active = false;
  #leaving = false;
  /** Counts leases: what began under an older one is void (N5). */
  #term = 0;
  #wake: (() => void) | undefined;
  #dirty = true;
  #loop: Promise<void> = Promise.resolve();

  constructor(parts: Collaborators) {
    this.#parts = parts;
    this.#handoverMs = parts.handoverMs;
    this.#view = new MembershipView({
      ...parts,
      changed: () => this.#changed(),
      left: (node) => {
        if (node === parts.nodeId && this.#active) parts.unseated();
      },
    });
  }

  get nodes(): NodeRecord[] {
    return this.#view.leases.map(({ record }) => record);
  }

  get leases(): SeenLease[] {
    return this.#view.leases;
  }

  get held(): number[] {
    return [...this.#hosted.keys()].toSorted((a, b) => a - b);
  }

  /** Whether this node hosts all that belongs to it. */
  get isSettled(): boolean {
    const { nodeId, transport } = this.#parts;
    if (!this.#active || !this.#view.nodes.has(nodeId)) return false;
    for (let partition = 0; partition < transport.partitions; partition += 1) {
      if (this.#hosted.has(partition)) continue;
      if (this.#view.home(partition) === nodeId) return false;
    }
    return true;
  }

  async start(): Promise<void> {
    await this.#view.open();
    this.#loop = this.#run();
  }

  /** Takes part from now on: a lease is held. */
  activate(): void {
    this.#active = true;
    this.#changed();
  }

  /** Gives up everything at once: the lease is gone, others may own it already. */
  async abandonAll(): Promise<void> {
    this.#active = false;
    this.#term += 1;
    await Promise.all([...this.#hosted.keys()].map((partition) => this.#abandon(partition)));
  }

  /** Another owner has written under `epoch`: a host of an older one must stop. */
  fenced(partition: number, epoch: number): void {
    this.#parts.metrics.count("berth_fences_total");
    this.#seen.set(partition, Math.max(epoch, this.#seen.get(partition) ?? 0));
    this.#changed();
    const hosted = this.#hosted.get(partition);
    if (hosted && hosted.epoch < epoch) void this.#abandon(partition);
  }

  /** Hands everything over and takes nothing more; bounded by the hand-over time. The view stays alive. */
  async drain(handoverMs = this.#parts.handoverMs): Promise<void> {
    this.#leaving = true;
    this.#handoverMs = handoverMs;
    const { clock, transport } = this.#parts;
    const until = clock.monotonic() + 2 * handoverMs;
    while (clock.monotonic() < until && !this.#stop.signal.aborted) {
      this.#changed();
      await Promise.all(this.#moves.values());
      if (this.#hosted.size === 0 && this.#moves.size === 0 && !this.#hasClaims) return;
      for (let partition = 0; partition < transport.partitions; partition += 1)
        this.#decide(partition);
      if (this.#moves.size === 0) await clock.sleep(RETRY_MS, this.#stop.signal);
    }
  }

  /** Ends what the node does: what is still held is closed. Claims that were not released stay, as after a crash. */
  async stop(): Promise<void> {
    const { clock } = this.#parts;
    this.#stop.abort();
    this.#wake?.();
    await this.#loop;
    await Promise.all([this.abandonAll(), this.#view.close()]);
    // What a claim under way opens later is closed by N5.
    await atMost(clock, FAREWELL_MS, Promise.all(this.#moves.values()));
  }

  #changed(): void {
    this.#dirty = true;
    this.#wake?.();
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      if (this.#active) this.#view.lookAgain(this.isSettled ? REFRESH_MS : RECHECK_MS);
      if (this.#dirty && this.#active) {
        this.#dirty = false;
        for (let partition = 0; partition < this.#parts.transport.partitions; partition += 1)
          this.#decide(partition);
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

  /** Begins the move that the present view asks for, if none runs (N4). */
  #decide(partition: number): void {
    if (this.#moves.has(partition) || this.#stop.signal.aborted) return;
    const { incarnation, nodeId } = this.#parts;
    const verdict = decidePartition({
      self: nodeId,
      incarnation,
      holding: this.#hosted.has(partition),
      leaving: this.#leaving || this.#view.isOnHold, // N7
      claim: this.#view.claim(partition)?.record,
      home: this.#view.home(partition),
      nodes: this.#view.nodes,
    });
    if (verdict === "claim") this.#move(partition, () => this.#claim(partition));
    else if (verdict === "release") this.#move(partition, () => this.#release(partition));
    else if (verdict === "abandon") this.#move(partition, () => this.#abandon(partition));
  }

  #move(partition: number, work: () => Promise<void>): void {
    const { clock, logger } = this.#parts;
    const moving = work()
      .catch(async (thrown: unknown) => {
        const error = asBerthError(thrown);
        if (error.code !== "record.conflict")
          logger.warn({ err: error, partition }, "a partition could not be moved; trying again");
        await clock.sleep(RETRY_MS, this.#stop.signal);
      })
      .finally(() => {
        this.#moves.delete(partition);
        this.#changed();
      });
    this.#moves.set(partition, moving);
  }

  async #claim(partition: number): Promise<void> {
    const { clock, host, incarnation, logger, metrics, nodeId } = this.#parts;
    const startedAt = clock.monotonic();
    const term = this.#term;
    const known = this.#view.claim(partition);
    if (known) await this.#requireFree(known.record);
    const epoch = Math.max(known?.record.epoch ?? 0, this.#seen.get(partition) ?? 0) + 1; // N1
    await this.#write(partition, { epoch, node: nodeId, incarnation }, known?.revision ?? 0);
    const hosted = await host(partition, epoch);
    if (this.#term !== term || (this.#seen.get(partition) ?? 0) > epoch) {
      await hosted.close(); // N5
      return;
    }
    this.#hosted.set(partition, hosted);
    metrics.count("berth_takeovers_total");
    metrics.observe("berth_takeover_seconds", (clock.monotonic() - startedAt) / 1_000);
    logger.debug({ partition, epoch }, "took a partition");
  }

  /** N2. */
  async #requireFree({ node, incarnation }: PartitionRecord): Promise<void> {
    if (node === null || node === this.#parts.nodeId) return;
    if (await this.#view.isHeld(node, incarnation))
      throw new BerthError("record.conflict", `node "${node}" still holds the partition`);
  }

  #isOurs({ node, incarnation }: PartitionRecord): boolean {
    return node === this.#parts.nodeId && incarnation === this.#parts.incarnation;
  }

  get #hasClaims(): boolean {
    const { partitions } = this.#parts.transport;
    return Array.from({ length: partitions }, (_, partition) => this.#view.claim(partition)).some(
      (claim) => claim && this.#isOurs(claim.record),
    );
  }

  async #release(partition: number): Promise<void> {
    const hosted = this.#hosted.get(partition);
    await hosted?.drain(this.#handoverMs); // N3
    if (this.#hosted.get(partition) === hosted) this.#hosted.delete(partition);
    const claim = this.#view.claim(partition);
    if (!claim || !this.#isOurs(claim.record)) return;
    const free = { epoch: claim.record.epoch, node: null, incarnation: null };
    await this.#write(partition, free, claim.revision, FAREWELL_MS);
    this.#parts.logger.debug({ partition }, "released a partition");
  }

  async #abandon(partition: number): Promise<void> {
    const hosted = this.#hosted.get(partition);
    this.#hosted.delete(partition);
    await hosted?.close().catch((thrown: unknown) => {
      this.#parts.logger.error({ err: thrown, partition }, "a partition could not be closed");
    });
    this.#changed();
  }

  async #write(
    partition: number,
    record: PartitionRecord,
    expected: number,
    timeoutMs?: number,
  ): Promise<void> {
    const value = encoder.encode(JSON.stringify(record));
    const { buckets } = this.#parts.transport;
    const revision = await buckets.put("partitions", String(partition), value, {
      expected,
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    });
    this.#view.wrote(partition, { record, revision });
  }
}
