/** Several nodes in one process, each on a connection of its own, over the memory broker, a real nats-server or three. */
import type { ActorDefinition } from "../../runtime/actor.ts";
import { actorClient } from "../../runtime/actor-client.ts";
import type { Client } from "../../runtime/client.ts";
import { type Clock, systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { MemoryBroker } from "../../runtime/memory/broker.ts";
import { connectMemory } from "../../runtime/memory/transport.ts";
import { type Metrics, noMetrics } from "../../runtime/metrics.ts";
import { connectNats } from "../../runtime/nats/transport.ts";
import { type NodeOptions, type RunningNode, startNode } from "../../runtime/node.ts";
import type { Tools } from "../../runtime/tools.ts";
import type { Transport } from "../../runtime/transport.ts";
import { eventually } from "./eventually.ts";
import { startNats, type TestNats } from "./nats.ts";
import { startNatsCluster, type TestNatsCluster } from "./nats-cluster.ts";

export interface ClusterOptions {
  readonly nodes?: number;
  readonly definitions: readonly ActorDefinition[];
  readonly tools?: Tools;
  /** `nats-cluster`: three servers, every stream on each of them. */
  readonly on?: "memory" | "nats" | "nats-cluster";
  readonly partitions?: number;
  readonly mailboxCapacity?: number;
  /** For the memory broker and its nodes. */
  readonly clock?: Clock;
  readonly metrics?: Metrics;
  readonly leaseTtlMs?: number;
  readonly sweepMs?: number;
  /** Stands between a connection and who has it: a node's by its id, "client", or what `connect` was given. */
  readonly wrap?: (inner: Transport, name: string) => Transport;
  /** What one node gets besides; by its id. */
  readonly perNode?: (id: string) => Partial<NodeOptions>;
}

export interface Cluster extends AsyncDisposable {
  /** A client that is no node, on a connection of its own. */
  readonly client: Client;
  readonly transport: Transport;
  /** Only on "nats". */
  readonly nats: TestNats;
  /** Only on "nats-cluster". */
  readonly natsCluster: TestNatsCluster;
  readonly broker: MemoryBroker;
  /** Running nodes by id: `n1`, `n2` ... */
  readonly nodes: ReadonlyMap<string, RunningNode>;
  node(id: string): RunningNode;
  start(id: string): Promise<RunningNode>;
  stop(id: string): Promise<void>;
  /** As a crash: the connection goes, nothing is released. */
  crash(id: string): Promise<void>;
  connect(name: string): Promise<Transport>;
  /** Resolves when every running node hosts its share. */
  settled(): Promise<void>;
}

export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const cluster = new TestCluster(options);
  await cluster.open();
  return cluster;
}

const PARTITIONS = 4;
const LEASE_TTL_MS = 1_500;

class TestCluster implements Cluster {
  readonly #options: ClusterOptions;
  readonly #clock: Clock;
  readonly #nodes = new Map<string, RunningNode>();
  readonly #transports = new Map<string, Transport>();
  #nats: TestNats | undefined;
  #natsCluster: TestNatsCluster | undefined;
  #broker: MemoryBroker | undefined;
  #transport: Transport | undefined;
  #client: Client | undefined;

  constructor(options: ClusterOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  get nodes(): ReadonlyMap<string, RunningNode> {
    return this.#nodes;
  }
  get nats(): TestNats {
    return this.#nats!;
  }
  get natsCluster(): TestNatsCluster {
    return this.#natsCluster!;
  }
  get broker(): MemoryBroker {
    return this.#broker!;
  }
  get transport(): Transport {
    return this.#transport!;
  }
  get client(): Client {
    return this.#client!;
  }

  async open(): Promise<void> {
    const { partitions = PARTITIONS, mailboxCapacity = 10_000, nodes = 1, on } = this.#options;
    if (on === "nats") this.#nats = await startNats();
    else if (on === "nats-cluster") this.#natsCluster = await startNatsCluster();
    else this.#broker = new MemoryBroker({ clock: this.#clock, partitions, mailboxCapacity });
    this.#transport = await this.connect("client");
    this.#client = actorClient({ transport: this.#transport, clock: this.#clock });
    await Promise.all(Array.from({ length: nodes }, (_, i) => this.start(`n${i + 1}`)));
    if (!this.#options.clock && nodes > 0) await this.settled();
  }

  async connect(name: string): Promise<Transport> {
    const transport = await this.#dial(name);
    return this.#options.wrap?.(transport, name) ?? transport;
  }

  async #dial(name: string): Promise<Transport> {
    if (this.#broker) return connectMemory(this.#broker);
    const { partitions = PARTITIONS, mailboxCapacity = 10_000 } = this.#options;
    return connectNats({
      url: (this.#natsCluster ?? this.nats).url,
      name,
      topology: {
        replicas: this.#natsCluster ? 3 : 1,
        partitions,
        mailboxCapacity,
        journalRetentionMs: 3_600_000,
      },
      logger: silentLogger,
      clock: systemClock,
    });
  }

  node(id: string): RunningNode {
    const node = this.#nodes.get(id);
    if (!node) throw new Error(`no node ${id} runs`);
    return node;
  }

  async start(id: string): Promise<RunningNode> {
    const transport = await this.connect(id);
    const node = await startNode({
      transport,
      definitions: this.#options.definitions,
      tools: this.#options.tools ?? {},
      clock: this.#clock,
      logger: silentLogger,
      metrics: this.#options.metrics ?? noMetrics,
      random: Math.random,
      nodeId: id,
      version: "0.0.0-test",
      drivers: [],
      leaseTtlMs: this.#options.leaseTtlMs ?? LEASE_TTL_MS,
      sweepMs: this.#options.sweepMs ?? 100,
      ...this.#options.perNode?.(id),
    });
    this.#transports.set(id, transport);
    this.#nodes.set(id, node);
    return node;
  }

  async stop(id: string): Promise<void> {
    await this.node(id).stop();
    await this.#forget(id);
  }

  async crash(id: string): Promise<void> {
    const node = this.node(id);
    await this.#transports.get(id)?.close();
    this.#nodes.delete(id);
    await node.crash();
    this.#transports.delete(id);
  }

  async #forget(id: string): Promise<void> {
    this.#nodes.delete(id);
    await this.#transports.get(id)?.close();
    this.#transports.delete(id);
  }

  async settled(): Promise<void> {
    await eventually(
      () => {
        const nodes = [...this.#nodes.values()];
        const held = nodes.flatMap((node) => node.partitions());
        const all = new Set(held).size === this.transport.partitions;
        return all && held.length === this.transport.partitions && nodes.every((n) => n.isReady());
      },
      { name: "every partition has one host", within: 20_000 },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of this.#nodes.values()) await node.stop();
    for (const transport of this.#transports.values()) await transport.close();
    await this.#transport?.close();
    await this.#nats?.[Symbol.asyncDispose]();
    await this.#natsCluster?.[Symbol.asyncDispose]();
  }
}
