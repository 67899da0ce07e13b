/**
 * What a node sees of the deployment: who lives, who has claimed which partition, and where each belongs. It may be
 * late, never wrong about the past.
 *
 * Invariants:
 * MV1 Of one key only what is newer than what was seen is taken, whichever way it came: a watch, a look, our own write.
 * MV2 Epochs never go back, though a claim's key be deleted.
 * MV3 A hold counts from when it is seen until it is seen gone; who needs to know that all have seen it looks at claims.
 */
import {
  HOLD_KEY,
  type NodeRecord,
  nodeRecordSchema,
  type PartitionRecord,
  partitionRecordSchema,
} from "../protocols/records.ts";
import { atMost } from "./at-most.ts";
import type { Clock } from "./clock.ts";
import type { SeenLease } from "./failure-detector.ts";
import type { Logger } from "./logger.ts";
import { decideHomes } from "./placement.ts";
import type { KeyEntry, Transport, Watch } from "./transport.ts";

export interface Claim {
  readonly record: PartitionRecord;
  readonly revision: number;
}

interface Collaborators {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly changed: () => void;
  /** A lease is gone. */
  readonly left: (node: string) => void;
}

const decoder = new TextDecoder();
/** Longest wait for the broker to hear that we watch no more. */
const LEAVE_MS = 1_000;

export class MembershipView {
  readonly #parts: Collaborators;
  readonly #nodes = new Map<string, NodeRecord>();
  /** By id, the newest revision seen of a lease, also of one that is gone (MV1). */
  readonly #revisions = new Map<string, number>();
  readonly #claims = new Map<number, Claim>();
  #hold = { isThere: false, revision: 0 };
  /** The placement over the present nodes, until they change. */
  #homes: readonly string[] | undefined;
  #watches: Watch[] = [];
  #lookedAt = Number.NEGATIVE_INFINITY;
  #isLooking = false;

  constructor(parts: Collaborators) {
    this.#parts = parts;
  }

  /** Live nodes by id. */
  get nodes(): ReadonlyMap<string, NodeRecord> {
    return this.#nodes;
  }

  /** Sorted by id. */
  get leases(): SeenLease[] {
    return [...this.#nodes.values()]
      .toSorted((a, b) => (a.id < b.id ? -1 : 1))
      .map((record) => ({ record, revision: this.#revisions.get(record.id) ?? 0 }));
  }

  /** Nobody is to own any partition (MV3). */
  get isOnHold(): boolean {
    return this.#hold.isThere;
  }

  claim(partition: number): Claim | undefined {
    return this.#claims.get(partition);
  }

  /** Where a partition belongs; undefined when every node is draining. */
  home(partition: number): string | undefined {
    this.#homes ??= decideHomes(
      this.#parts.transport.partitions,
      [...this.#nodes.values()].filter(({ draining }) => !draining).map(({ id }) => id),
    );
    return this.#homes[partition];
  }

  /** A claim that we have just written. */
  wrote(partition: number, claim: Claim): void {
    const known = this.#claims.get(partition);
    if (!known || known.revision < claim.revision) this.#claims.set(partition, claim);
  }

  /** Whether a run of a node holds its lease now: by the broker, not by this view. */
  async isHeld(node: string, incarnation: string | null): Promise<boolean> {
    const found = await this.#parts.transport.buckets.get("nodes", node);
    const parsed = found?.value ? nodeRecordSchema.safeParse(parse(found.value)) : undefined;
    return parsed?.success === true && parsed.data.incarnation === incarnation;
  }

  /** Resolves when all that is there has been seen. */
  async open(): Promise<void> {
    const { buckets } = this.#parts.transport;
    this.#watches.push(await buckets.watch("nodes", (entry) => this.#onNode(entry)));
    this.#watches.push(await buckets.watch("partitions", (entry) => this.#onPartition(entry)));
  }

  async close(): Promise<void> {
    const closings = this.#watches.splice(0).map((watch) => watch.close());
    await atMost(this.#parts.clock, LEAVE_MS, Promise.all(closings));
  }

  /**
   * Reads everything anew, if that was not done for so long: a watch that broke unnoticed must not keep a partition
   * without an owner. In the background, for the broker may be slow; what is found is told as changes are.
   */
  lookAgain(afterMs: number): void {
    const { clock, logger } = this.#parts;
    if (this.#isLooking || clock.monotonic() - this.#lookedAt < afterMs) return;
    this.#isLooking = true;
    this.#lookedAt = clock.monotonic();
    this.#look()
      .catch((thrown: unknown) =>
        logger.debug({ err: thrown }, "the view could not be read; trying again"),
      )
      .finally(() => {
        this.#isLooking = false;
      });
  }

  async #look(): Promise<void> {
    const { buckets } = this.#parts.transport;
    const before = new Map(this.#revisions);
    const nodes = await buckets.list("nodes", "");
    const live = new Set(nodes.map(({ key }) => key));
    for (const id of this.#nodes.keys()) {
      const revision = this.#revisions.get(id) ?? 0;
      // One that came or renewed while we looked may be missing from what we got.
      if (!live.has(id) && before.get(id) === revision)
        this.#onNode({ key: id, revision, value: undefined });
    }
    for (const entry of nodes) this.#onNode(entry);
    const hold = this.#hold.revision;
    const claims = await buckets.list("partitions", "");
    if (!claims.some(({ key }) => key === HOLD_KEY) && this.#hold.revision === hold)
      this.#onHold({ key: HOLD_KEY, revision: hold, value: undefined });
    for (const entry of claims) this.#onPartition(entry);
  }

  /** MV1, MV3. */
  #onHold({ revision, value }: KeyEntry): void {
    if (value ? revision <= this.#hold.revision : revision < this.#hold.revision) return;
    const isThere = value !== undefined;
    const isNews = isThere !== this.#hold.isThere;
    this.#hold = { isThere, revision };
    if (isNews) this.#parts.changed();
  }

  /** MV1. What is found missing is told with the revision that it had. */
  #onNode({ key, revision, value }: KeyEntry): void {
    const known = this.#revisions.get(key) ?? 0;
    if (value ? revision <= known : revision < known) return;
    this.#revisions.set(key, revision);
    const parsed = value ? nodeRecordSchema.safeParse(parse(value)) : undefined;
    const before = this.#nodes.get(key);
    if (parsed?.success) this.#nodes.set(key, parsed.data);
    else this.#nodes.delete(key);
    if (!value) this.#parts.left(key);
    if (isRenewal(before, parsed?.data)) return;
    this.#homes = undefined;
    this.#parts.changed();
  }

  /** MV1, MV2. */
  #onPartition(entry: KeyEntry): void {
    const { key, revision, value } = entry;
    if (key === HOLD_KEY) this.#onHold(entry);
    const partition = Number(key);
    if (!Number.isInteger(partition)) return;
    const known = this.#claims.get(partition);
    if (known && known.revision >= revision) return;
    const parsed = value ? partitionRecordSchema.safeParse(parse(value)) : undefined;
    const free = { epoch: known?.record.epoch ?? 1, node: null, incarnation: null };
    this.#claims.set(partition, { record: parsed?.success ? parsed.data : free, revision });
    this.#parts.changed();
  }
}

/** Most of what a watch tells: it changes nothing for anyone. */
function isRenewal(before: NodeRecord | undefined, after: NodeRecord | undefined): boolean {
  if (!before || !after) return false;
  return before.incarnation === after.incarnation && before.draining === after.draining;
}

function parse(value: Uint8Array): unknown {
  try {
    return JSON.parse(decoder.decode(value));
  } catch {
    return undefined;
  }
}
