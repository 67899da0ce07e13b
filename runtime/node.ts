/** A node: joins the deployment, hosts its share of partitions, and hands them over when it leaves. */
import type { ActorRef } from "../protocols/ids.ts";
import {
  type ActivationQuery,
  type ApiActivation,
  activationQuerySchema,
} from "../protocols/inspection.ts";
import { partitionOf } from "../protocols/partition.ts";
import type { NodeRecord } from "../protocols/records.ts";
import type { Tally } from "./activity.ts";
import type { ActorDefinition } from "./actor.ts";
import { actorClient } from "./actor-client.ts";
import { type ActorList, describeHeld, type Held, listActors } from "./actor-list.ts";
import type { Client } from "./client.ts";
import type { Clock } from "./clock.ts";
import type { DeadLetters } from "./dead-letters.ts";
import { EffectRunner } from "./effects.ts";
import { FailureDetector } from "./failure-detector.ts";
import { freshUlid } from "./fresh-ulid.ts";
import { NodeLease } from "./lease.ts";
import type { Logger } from "./logger.ts";
import { type HostedPartition, Membership } from "./membership.ts";
import type { Metrics } from "./metrics.ts";
import { type NodeBounds, nodeBounds } from "./node-bounds.ts";
import { exportGauges } from "./node-gauges.ts";
import { Outbox } from "./outbox.ts";
import { PartitionHost } from "./partition-host.ts";
import type { OnStep } from "./steps.ts";
import type { Tools } from "./tools.ts";
import { noTracer, type Tracer } from "./tracing.ts";
import type { Transport } from "./transport.ts";
import { VersionSkew } from "./version-skew.ts";

export interface NodeOptions {
  readonly transport: Transport;
  readonly definitions: readonly ActorDefinition[];
  readonly tools: Tools;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Default: no traces. */
  readonly tracer?: Tracer;
  /** In [0, 1); spreads backoffs. */
  readonly random: () => number;
  /** Stable over restarts: a restarted node takes its own partitions back at once. */
  readonly nodeId: string;
  readonly version: string;
  readonly drivers: NodeRecord["drivers"];
  /** After so long without renewal others take over (default 8 000). */
  readonly leaseTtlMs?: number;
  /** How often idle activations are looked for (default 1 000). */
  readonly sweepMs?: number;
  /** Longest wait for turns when partitions move (default 10 000). */
  readonly handoverMs?: number;
  readonly admitUplink?: (worker: string, ref: ActorRef, type: string, input: unknown) => boolean;
  /** Another process runs under this node's id: this one has stopped working and should exit. */
  readonly onReplaced?: () => void;
  /** For tests that end a node at a named point of a turn. */
  readonly onStep?: OnStep;
}

export interface RunningNode {
  readonly id: string;
  readonly client: Client;
  readonly deadLetters: DeadLetters;
  /** Live nodes, this one included. */
  nodes(): NodeRecord[];
  partitions(): number[];
  /** Activations in memory, the fullest mailbox first, at most `limit`. */
  actors(limit: number): ApiActivation[];
  listActors(query: ActivationQuery): ActorList;
  /** One actor, if it is in memory here. */
  findActor(ref: ActorRef): ApiActivation | undefined;
  /** What this node does, in numbers. */
  census(): NodeCensus;
  isReady(): boolean;
  /** Hands every partition over; the node stays up and serves nothing. */
  drain(): Promise<void>;
  /** Drains, leaves, and closes what the node opened (not the transport). */
  stop(): Promise<void>;
  /** Stops as a crash would, for tests: nothing is released. */
  crash(): Promise<void>;
}

export interface NodeCensus {
  /** Messages handled since the start. */
  readonly turns: number;
  readonly activations: number;
  /** Messages that wait in them. */
  readonly waiting: number;
  readonly effects: number;
  readonly partitions: readonly number[];
}

/** Outlasts an election of the broker (about 5 s). Dead processes are found sooner, by their closed connection. */
const DEFAULT_LEASE_TTL_MS = 8_000;
const DEFAULT_SWEEP_MS = 1_000;
const DEFAULT_HANDOVER_MS = 10_000;
/** Longest wait for turns when the broker does not answer: they wait for it, too. */
const BROKER_AWAY_MS = 1_000;

export async function startNode(options: NodeOptions): Promise<RunningNode> {
  const node = new BerthNode(options);
  await node.start();
  return node;
}

class BerthNode implements RunningNode {
  readonly client: Client;
  readonly #options: NodeOptions;
  readonly #incarnation = freshUlid();
  readonly #hosts = new Map<number, PartitionHost>();
  readonly #membership: Membership;
  readonly #lease: NodeLease;
  readonly #detector: FailureDetector;
  readonly #skew: VersionSkew;
  readonly #sweeping = new AbortController();
  readonly #definitions: ReadonlyMap<string, ActorDefinition>;
  readonly #tally: Tally = { turns: 0 };
  readonly #bounds: NodeBounds;
  readonly #outbox: Outbox;
  readonly #effects: EffectRunner;
  #stopReconnects: () => void = () => {};
  #leaving = false;
  #sweeper: Promise<void> = Promise.resolve();

  constructor(options: NodeOptions) {
    this.#options = options;
    this.client = actorClient(options);
    this.#definitions = new Map(options.definitions.map((d) => [d.protocol.kind, d]));
    this.#bounds = nodeBounds(options.clock, () => this.#activations);
    this.#outbox = new Outbox(options);
    this.#effects = new EffectRunner(options);
    this.#membership = new Membership({
      ...options,
      incarnation: this.#incarnation,
      handoverMs: options.handoverMs ?? DEFAULT_HANDOVER_MS,
      host: (partition, epoch) => this.#host(partition, epoch),
      unseated: () => this.#lease.check(),
    });
    this.#detector = new FailureDetector({
      ...options,
      incarnation: this.#incarnation,
      leases: () => this.#membership.leases,
    });
    this.#skew = new VersionSkew({
      clock: options.clock,
      incarnation: this.#incarnation,
      nodes: () => this.#membership.nodes,
    });
    this.#lease = new NodeLease(
      {
        ...options,
        ttlMs: options.leaseTtlMs ?? DEFAULT_LEASE_TTL_MS,
        held: () => this.#membership.activate(),
        lost: (reason) => this.#onLeaseLost(reason),
      },
      {
        id: options.nodeId,
        incarnation: this.#incarnation,
        version: options.version,
        started_at: options.clock.now(),
        draining: false,
        drivers: options.drivers,
        kinds: [...this.#definitions.keys()],
        messages: Object.fromEntries(
          options.definitions.map(({ protocol }) => [
            protocol.kind,
            Object.keys(protocol.messages),
          ]),
        ),
        evictions: 0,
      },
    );
  }

  get id(): string {
    return this.#options.nodeId;
  }

  get deadLetters(): DeadLetters {
    return this.#options.transport.deadLetters;
  }

  async start(): Promise<void> {
    try {
      await this.#membership.start();
      await this.#detector.start();
      await this.#lease.acquire();
    } catch (thrown) {
      await this.#detector.stop();
      await this.#membership.stop();
      throw thrown;
    }
    this.#stopReconnects = this.#options.transport.onReconnect(() => {
      for (const host of this.#hosts.values()) host.reopen().catch(() => undefined);
    });
    this.#sweeper = this.#sweep();
  }

  nodes(): NodeRecord[] {
    return this.#membership.nodes;
  }

  partitions(): number[] {
    return this.#membership.held;
  }

  isReady(): boolean {
    return !this.#leaving && this.#lease.isHeld() && this.#membership.isSettled;
  }

  actors(limit: number): ApiActivation[] {
    return this.listActors({ ...activationQuerySchema.parse({}), limit }).actors;
  }

  listActors(query: ActivationQuery): ActorList {
    return listActors(this.id, this.#held(), query);
  }

  findActor(ref: ActorRef): ApiActivation | undefined {
    const partition = partitionOf(ref, this.#options.transport.partitions);
    const activation = this.#hosts.get(partition)?.find(ref);
    return activation && describeHeld(this.id, { activation, partition });
  }

  census(): NodeCensus {
    let activations = 0;
    let waiting = 0;
    for (const { activation } of this.#held()) {
      activations += 1;
      waiting += activation.waiting;
    }
    const effects = this.#effects.running;
    return {
      turns: this.#tally.turns,
      activations,
      waiting,
      effects,
      partitions: this.partitions(),
    };
  }

  *#held(): Iterable<Held> {
    for (const [partition, host] of this.#hosts)
      for (const activation of host.activations) yield { activation, partition };
  }

  async drain(): Promise<void> {
    this.#leaving = true;
    try {
      await this.#lease.drain();
      await this.#membership.drain();
    } catch (thrown) {
      const { logger } = this.#options;
      logger.warn({ err: thrown }, "the others were not told of the drain; they see the lease go");
      await this.#membership.drain(BROKER_AWAY_MS);
    }
  }

  async stop(): Promise<void> {
    await this.drain();
    this.#stopReconnects();
    await this.#membership.stop();
    await Promise.all([this.#lease.release(), this.#detector.stop()]);
    await this.#endSweeps();
  }

  async crash(): Promise<void> {
    this.#leaving = true;
    this.#stopReconnects();
    this.#lease.abandon();
    await this.#detector.stop();
    await this.#membership.stop();
    await this.#endSweeps();
  }

  async #endSweeps(): Promise<void> {
    this.#sweeping.abort();
    await this.#sweeper;
  }

  async #host(partition: number, epoch: number): Promise<HostedPartition> {
    const host = new PartitionHost({
      ...this.#options,
      tracer: this.#options.tracer ?? noTracer,
      tally: this.#tally,
      partition,
      epoch,
      definitions: this.#definitions,
      outbox: this.#outbox,
      effects: this.#effects,
      ...this.#bounds,
      writer: this.#incarnation,
      leaseValid: () => this.#lease.mayAnswer(),
      fenced: (seen) => this.#membership.fenced(partition, seen),
      servedElsewhere: this.#skew.servedElsewhere,
      admitUplink: this.#options.admitUplink ?? (() => false),
    });
    await host.open();
    this.#hosts.set(partition, host);
    return {
      epoch,
      drain: (withinMs: number) =>
        host.drain(withinMs).finally(() => this.#forget(partition, host)),
      close: () => host.close().finally(() => this.#forget(partition, host)),
    };
  }

  get #activations(): number {
    let size = 0;
    for (const host of this.#hosts.values()) size += host.size;
    return size;
  }

  #forget(partition: number, host: PartitionHost): void {
    if (this.#hosts.get(partition) === host) this.#hosts.delete(partition);
  }

  async #onLeaseLost(reason: "expired" | "replaced"): Promise<void> {
    await this.#membership.abandonAll();
    if (reason === "replaced") this.#options.onReplaced?.();
  }

  async #sweep(): Promise<void> {
    const { clock, logger, metrics } = this.#options;
    const { signal } = this.#sweeping;
    while (!signal.aborted) {
      await clock.sleep(this.#options.sweepMs ?? DEFAULT_SWEEP_MS, signal);
      this.#skew.observe();
      for (const host of [...this.#hosts.values()]) {
        if (signal.aborted) return;
        await host
          .sweep()
          .catch((thrown: unknown) => logger.warn({ err: thrown }, "a sweep failed"));
      }
      this.#bounds.lobby.admit();
      exportGauges(metrics, {
        hosts: this.#hosts.values(),
        effects: this.#effects,
        outbox: this.#outbox,
        bounds: this.#bounds,
      });
    }
  }
}
