/**
 * The lease of this node: a key with a TTL that says "I am here".
 *
 * Invariants:
 * L1 `mayAnswer` is never true once another node may own our partitions. A peer that finds us gone removes the
 *    lease no sooner than the grace after our last renewal (D1), so answers from memory need a renewal younger than
 *    that, counted from before it was sent. Writes need none of it: the broker fences them.
 * L2 After a lapse nothing owned under the old lease is used: `lost` is called before a new one is acquired.
 * L3 Two processes with one node id never both hold it: the one that was replaced is told and stays down.
 * L4 A lease that went before its time was removed by a peer that took us for dead. The next one counts that, so
 *    that peers whose view of us is wrong are slower each time.
 * L5 A lease taken from an earlier run, which may still live, is used once that run can answer no more (L1).
 */
import { asBerthError, BerthError } from "../protocols/errors.ts";
import { type NodeRecord, nodeRecordSchema } from "../protocols/records.ts";
import { atMost } from "./at-most.ts";
import type { Clock } from "./clock.ts";
import type { Logger } from "./logger.ts";
import type { Metrics } from "./metrics.ts";
import { graceMs } from "./suspicion.ts";
import type { Transport } from "./transport.ts";

interface Collaborators {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly ttlMs: number;
  /** The lease lapsed (a new one is tried at once when it resolves) or was replaced for good. */
  readonly lost: (reason: "expired" | "replaced") => Promise<void>;
  /** A new lease is held. */
  readonly held: () => void;
}

const RETRY_MS = 200;
/** With the pauses between them, longer than an election of the broker. */
const ACQUIRE_ATTEMPTS = 50;
/** Several renewals fit into the time for which one lets us answer (L1). */
const RENEW_MS = 300;
const TIMEOUT_MS = 600;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class NodeLease {
  readonly #parts: Collaborators;
  readonly #stop = new AbortController();
  #record: NodeRecord;
  #revision = 0;
  /** When the last renewal that the broker took was sent. */
  #renewedAt = 0;
  #loop: Promise<void> = Promise.resolve();
  #wake: () => void = () => {};

  constructor(parts: Collaborators, record: NodeRecord) {
    this.#parts = parts;
    this.#record = record;
  }

  get record(): NodeRecord {
    return this.#record;
  }

  /** By our clock the lease has not run out; a peer may have removed it all the same. */
  isHeld(): boolean {
    return this.#isYoungerThan(this.#parts.ttlMs);
  }

  /** Whether what is in memory may be told as the truth (L1). */
  mayAnswer(): boolean {
    return this.#isYoungerThan(Math.min(this.#parts.ttlMs, graceMs(0)));
  }

  #isYoungerThan(ms: number): boolean {
    return this.#revision > 0 && this.#parts.clock.monotonic() < this.#renewedAt + ms;
  }

  /** Takes the lease over from an earlier run of the same node, or makes it; then renews until `release`. */
  async acquire(): Promise<void> {
    const { clock, transport } = this.#parts;
    const { buckets } = transport;
    let isTakenOver = false;
    for (let attempt = 1; this.#revision === 0; attempt += 1) {
      try {
        const found = await buckets.get("nodes", this.#record.id);
        await this.#write(found?.revision ?? 0);
        isTakenOver = found?.value !== undefined;
      } catch (thrown) {
        // The earlier run may have renewed or expired between the look and the write; or the broker elects.
        const { code } = asBerthError(thrown);
        const isPassing = code === "record.conflict" || code === "broker.unavailable";
        if (!isPassing || attempt === ACQUIRE_ATTEMPTS) throw thrown;
        await clock.sleep(RETRY_MS, this.#stop.signal);
      }
    }
    this.#loop = this.#renewals();
    if (isTakenOver) await clock.sleep(graceMs(0), this.#stop.signal); // L5
    this.#parts.held();
  }

  /** Tells everyone that this node takes no new partitions. */
  async drain(): Promise<void> {
    this.#record = { ...this.#record, draining: true };
    if (this.#revision > 0) await this.#renew();
  }

  /** Looks now whether the lease is still there, instead of at the next renewal. */
  check(): void {
    this.#wake();
  }

  async release(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
    if (this.#revision === 0) return;
    const expected = this.#revision;
    this.#revision = 0;
    const { buckets } = this.#parts.transport;
    // Refused: another process has it. Unanswered: it runs out.
    const removing = buckets.remove("nodes", this.#record.id, { expected });
    await atMost(this.#parts.clock, TIMEOUT_MS, removing);
  }

  /** Ends renewals without a word, as a crash would. */
  abandon(): void {
    this.#stop.abort();
    this.#revision = 0;
  }

  async #write(expected: number): Promise<void> {
    const { clock, transport, ttlMs } = this.#parts;
    const sentAt = clock.monotonic(); // L1
    const value = encoder.encode(JSON.stringify(this.#record));
    this.#revision = await transport.buckets.put("nodes", this.#record.id, value, {
      expected,
      ttlMs,
      // A lost answer must leave time for another try.
      timeoutMs: TIMEOUT_MS,
    });
    this.#renewedAt = sentAt;
  }

  async #renewals(): Promise<void> {
    const { logger, metrics, ttlMs } = this.#parts;
    const period = Math.min(RENEW_MS, ttlMs / 3);
    let pause = period;
    while (!this.#stop.signal.aborted) {
      await this.#nap(pause);
      if (this.#stop.signal.aborted) return;
      try {
        await this.#renew();
        pause = period;
      } catch (thrown) {
        const error = asBerthError(thrown);
        if (error.code === "lease.lost") return;
        metrics.count("berth_lease_renewals_failed_total");
        logger.warn({ err: error }, "the node's lease could not be renewed; trying again");
        pause = Math.min(RETRY_MS, period);
      }
    }
  }

  async #nap(ms: number): Promise<void> {
    const nap = new AbortController();
    const end = () => nap.abort();
    this.#wake = end;
    this.#stop.signal.addEventListener("abort", end, { once: true });
    await this.#parts.clock.sleep(ms, nap.signal);
    this.#stop.signal.removeEventListener("abort", end);
  }

  async #renew(): Promise<void> {
    try {
      if (this.#revision === 0) await this.#join(0);
      else await this.#write(this.#revision);
    } catch (thrown) {
      if (asBerthError(thrown).code !== "record.conflict") throw thrown;
      await this.#reconsider();
    }
  }

  /** Our revision is not the newest: a renewal whose answer was lost, an expiry, or another process. */
  async #reconsider(): Promise<void> {
    const { logger, lost, transport } = this.#parts;
    const node = this.#record.id;
    const found = await transport.buckets.get("nodes", node);
    const holder = found?.value && incarnationIn(found.value);
    if (found && holder === this.#record.incarnation) {
      if (this.#revision === 0) await this.#join(found.revision);
      else await this.#write(found.revision);
      return;
    }
    const lapsed = this.#revision > 0;
    const wasHeld = this.isHeld();
    this.#revision = 0;
    if (found && holder !== undefined) {
      logger.error({ node }, "another process runs under this node's id; stopping");
      await lost("replaced"); // L3
      throw new BerthError("lease.lost");
    }
    if (lapsed) {
      if (wasHeld) this.#countEviction();
      logger.warn({ node }, "the node's lease had lapsed; giving everything up and joining again");
      await lost("expired"); // L2
    }
    await this.#join(found?.revision ?? 0);
  }

  /** L4. */
  #countEviction(): void {
    this.#record = { ...this.#record, evictions: (this.#record.evictions ?? 0) + 1 };
  }

  async #join(expected: number): Promise<void> {
    await this.#write(expected);
    this.#parts.held();
  }
}

/** Whose lease it is; undefined for a value that no node has written. */
function incarnationIn(value: Uint8Array): string | undefined {
  try {
    return nodeRecordSchema.parse(JSON.parse(decoder.decode(value))).incarnation;
  } catch {
    return undefined;
  }
}
