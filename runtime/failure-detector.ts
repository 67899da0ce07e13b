/**
 * Finds processes that died, sooner than their leases run out.
 *
 * Invariants:
 * D1 A lease is removed by compare-and-set on the revision that was there when the suspicion began: a node that
 *    has renewed since keeps it. Everyone learns of it as of an expiry, and claims as then.
 * D2 Nobody is condemned by one who cannot hear: a node that was just connected again, or does not reach itself
 *    through the broker, holds its judgement.
 * D3 Probes are bounded: a fixed number of successors each, one request at a time to each.
 */
import { asBerthError } from "../protocols/errors.ts";
import type { NodeRecord } from "../protocols/records.ts";
import { subjects } from "../protocols/subjects.ts";
import { atMost } from "./at-most.ts";
import type { Clock } from "./clock.ts";
import type { Logger } from "./logger.ts";
import type { Metrics } from "./metrics.ts";
import {
  decideProbed,
  decideSuspicion,
  type Finding,
  graceMs,
  type Suspicion,
  TRUSTED,
} from "./suspicion.ts";
import type { Serving, Transport } from "./transport.ts";

/** A lease as the view has it. */
export interface SeenLease {
  readonly record: NodeRecord;
  readonly revision: number;
}

interface Collaborators {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly nodeId: string;
  readonly incarnation: string;
  readonly leases: () => readonly SeenLease[];
}

interface Doubt {
  readonly incarnation: string;
  readonly revision: number;
  readonly suspicion: Suspicion;
}

const PROBE_MS = 500;
/** While someone is suspected. */
const CONFIRM_MS = 150;
/** The broker itself says that nobody listens; more than this is a machine that is overloaded. */
const TIMEOUT_MS = 800;
/** Longest wait at the end, for the broker may be away. */
const LEAVE_MS = 1_000;
const NOTHING = new Uint8Array();

export class FailureDetector {
  readonly #parts: Collaborators;
  readonly #doubts = new Map<string, Doubt>();
  readonly #stop = new AbortController();
  #pulse: Serving | undefined;
  #offReconnect: () => void = () => {};
  #blindUntil = 0;
  #loop: Promise<void> = Promise.resolve();

  constructor(parts: Collaborators) {
    this.#parts = parts;
  }

  /** Answers probes from when it resolves, and probes others. Call it before the lease is taken. */
  async start(): Promise<void> {
    const { clock, incarnation, nodeId, transport } = this.#parts;
    this.#pulse = transport.bus.serve(subjects.pulse(nodeId, incarnation), undefined, (probe) =>
      probe.reply(NOTHING),
    );
    this.#offReconnect = transport.onReconnect(() => {
      this.#blindUntil = clock.monotonic() + graceMs(0); // D2
    });
    await this.#pulse.ready;
    this.#loop = this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#offReconnect();
    const closing = this.#pulse?.close() ?? Promise.resolve();
    await atMost(this.#parts.clock, LEAVE_MS, Promise.all([this.#loop, closing]));
  }

  async #run(): Promise<void> {
    const { clock } = this.#parts;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await clock.sleep(this.#doubts.size > 0 ? CONFIRM_MS : PROBE_MS, signal);
      if (!signal.aborted) await this.#round();
    }
  }

  async #round(): Promise<void> {
    const { leases, nodeId } = this.#parts;
    const seen = new Map(leases().map((lease) => [lease.record.id, lease]));
    const records = [...seen.values()].map(({ record }) => record);
    const probed = decideProbed(nodeId, records);
    for (const id of this.#doubts.keys())
      if (!probed.some((node) => node.id === id)) this.#doubts.delete(id);
    await Promise.all(
      probed.map(async ({ id }) => {
        const lease = seen.get(id);
        if (lease) await this.#look(lease);
      }),
    );
  }

  async #look(lease: SeenLease): Promise<void> {
    const { id, incarnation, evictions = 0 } = lease.record;
    const known = this.#doubts.get(id);
    const isSame = known?.incarnation === incarnation && known.revision === lease.revision;
    const before = isSame ? known.suspicion : TRUSTED;
    const answer = await this.#probe(id, incarnation);
    const finding = known && !isSame && answer === "gone" ? "renewed" : answer;
    const now = this.#parts.clock.monotonic();
    const suspicion = decideSuspicion(before, finding, { now, evictions });
    if (suspicion.state === "trusted") this.#doubts.delete(id);
    else this.#doubts.set(id, { incarnation, revision: lease.revision, suspicion });
    if (suspicion.state === "condemned") await this.#remove(lease);
  }

  /** D1, D2. */
  async #remove({ record, revision }: SeenLease): Promise<void> {
    const { incarnation, logger, metrics, nodeId, transport } = this.#parts;
    this.#doubts.delete(record.id);
    if ((await this.#probe(nodeId, incarnation)) !== "answered") return;
    try {
      await transport.buckets.remove("nodes", record.id, { expected: revision });
      metrics.count("berth_evictions_total");
      logger.warn({ node: record.id }, "a node's process is gone; its lease was removed");
    } catch (thrown) {
      logger.debug({ err: thrown, node: record.id }, "a lease was not removed");
    }
  }

  async #probe(id: string, incarnation: string): Promise<Finding> {
    const { clock, transport } = this.#parts;
    if (clock.monotonic() < this.#blindUntil) return "blind";
    try {
      await transport.bus.request(subjects.pulse(id, incarnation), NOTHING, TIMEOUT_MS);
      return "answered";
    } catch (thrown) {
      const { code } = asBerthError(thrown);
      if (code === "ask.timeout") return "silent";
      return code === "actor.moved" && clock.monotonic() >= this.#blindUntil ? "gone" : "blind";
    }
  }
}
