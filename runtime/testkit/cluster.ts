/** Several nodes in one process, each on a connection of its own, over the memory broker or real servers. */
import { MessageChannel } from "node:worker_threads";
import type { ActorDefinition } from "../actor.ts";
import { actorClient } from "../actor-client.ts";
import type { Client } from "../client.ts";
import { type Clock, systemClock } from "../clock.ts";
import { type Logger, silentLogger } from "../logger.ts";
import { MemoryBroker } from "../memory/broker.ts";
import { connectMemory } from "../memory/transport.ts";
import { type Metrics, noMetrics } from "../metrics.ts";
import { connectNats } from "../nats/transport.ts";
import { type NodeOptions, type RunningNode, startNode } from "../node.ts";
import type { Tools } from "../tools.ts";
import type { Transport } from "../transport.ts";
import { eventually } from "./eventually.ts";
import type { Faults } from "./faults.ts";
import { type FaultyTransport, faultyTransport } from "./faulty-transport.ts";
import { TestProcess } from "./process.ts";
import { seededRandom } from "./random.ts";

export interface TestClusterOptions {
  readonly definitions: readonly ActorDefinition[];
  /** How many start at once, as `n1`, `n2` ... (default 1). */
  readonly nodes?: number;
  readonly tools?: Tools;
  /** Servers to use instead of the memory broker. */
  readonly url?: string;
  /** Makes every connection, instead of `url` and the memory broker. */
  readonly connect?: (name: string) => Promise<Transport>;
  readonly partitions?: number;
  readonly mailboxCapacity?: number;
  /** For the memory broker and the nodes; whoever gives one moves it, and calls `settled` itself. */
  readonly clock?: Clock;
  /** What befalls the messages of nodes; with it nodes can be paused, cut off and killed. `noFaults` for only that. */
  readonly faults?: Faults;
  readonly metrics?: Metrics;
  readonly logger?: Logger;
  readonly leaseTtlMs?: number;
  readonly sweepMs?: number;
  /** What one node gets besides; by its id. */
  readonly perNode?: (id: string) => Partial<NodeOptions>;
}

export interface TestCluster extends AsyncDisposable {
  /** A client that is no node, on a connection of its own that no fault befalls. */
  readonly client: Client;
  readonly transport: Transport;
  /** Running nodes by id. */
  readonly nodes: ReadonlyMap<string, RunningNode>;
  /** Only over the memory broker. */
  readonly broker: MemoryBroker | undefined;
  node(id: string): RunningNode;
  start(id: string): Promise<RunningNode>;
  /** As asked to: what it does is ended and handed over. */
  stop(id: string): Promise<void>;
  /** As SIGKILL: nothing is released. */
  crash(id: string): Promise<void>;
  /** The process and the connection of a node, to pause, cut and mend; only with `faults`. */
  faultsOf(id: string): { readonly process: TestProcess; readonly link: FaultyTransport["link"] };
  connect(name: string): Promise<Transport>;
  /** Resolves when every running node hosts its share. */
  settled(): Promise<void>;
}

/** Resolves when every partition has a host, unless a clock was given. */
export async function startTestCluster(options: TestClusterOptions): Promise<TestCluster> {
  const cluster = new Cluster(options);
  try {
    await cluster.open();
    return cluster;
  } catch (thrown) {
    await cluster[Symbol.asyncDispose]();
    throw thrown;
  }
}

const PARTITIONS = 4;
const MAILBOX_CAPACITY = 10_000;
const LEASE_TTL_MS = 1_500;
const SWEEP_MS = 100;
const JOURNAL_RETENTION_MS = 3_600_000;
const SETTLE_WITHIN_MS = 20_000;

interface Member {
  readonly node: RunningNode;
  readonly transport: Transport;
  readonly process: TestProcess;
  readonly link: FaultyTransport["link"] | undefined;
}

class Cluster implements TestCluster {
  readonly broker: MemoryBroker | undefined;
  readonly #options: TestClusterOptions;
  readonly #clock: Clock;
  readonly #members = new Map<string, Member>();
  /** An open port keeps the program alive while it waits: the runtime's timers do not. */
  readonly #alive = new MessageChannel();
  #outside: { readonly client: Client; readonly transport: Transport } | undefined;

  constructor(options: TestClusterOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#alive.port1.ref();
    if (options.connect || options.url) return;
    const { partitions = PARTITIONS, mailboxCapacity = MAILBOX_CAPACITY } = options;
    this.broker = new MemoryBroker({ clock: this.#clock, partitions, mailboxCapacity });
  }

  get client(): Client {
    return this.#isOpen().client;
  }
  get transport(): Transport {
    return this.#isOpen().transport;
  }
  get nodes(): ReadonlyMap<string, RunningNode> {
    return new Map([...this.#members].map(([id, { node }]) => [id, node]));
  }

  async open(): Promise<void> {
    const transport = await this.connect("client");
    this.#outside = { transport, client: actorClient({ transport, clock: this.#clock }) };
    const ids = Array.from({ length: this.#options.nodes ?? 1 }, (_, i) => `n${i + 1}`);
    await Promise.all(ids.map((id) => this.start(id)));
    if (!this.#options.clock && ids.length > 0) await this.settled();
  }

  #isOpen() {
    if (!this.#outside) throw new Error("the cluster is not open");
    return this.#outside;
  }

  connect(name: string): Promise<Transport> {
    const { connect, partitions = PARTITIONS, url } = this.#options;
    if (connect) return connect(name);
    if (this.broker) return Promise.resolve(connectMemory(this.broker));
    const { mailboxCapacity = MAILBOX_CAPACITY } = this.#options;
    return connectNats({
      url: url ?? "",
      name,
      topology: {
        replicas: 1,
        partitions,
        mailboxCapacity,
        journalRetentionMs: JOURNAL_RETENTION_MS,
      },
      logger: silentLogger,
      clock: systemClock,
    });
  }

  node(id: string): RunningNode {
    return this.#member(id).node;
  }

  #member(id: string): Member {
    const member = this.#members.get(id);
    if (!member) throw new Error(`no node ${id} runs`);
    return member;
  }

  faultsOf(id: string) {
    const { link, process } = this.#member(id);
    if (!link) throw new Error("the cluster was started without faults");
    return { link, process };
  }

  async start(id: string): Promise<RunningNode> {
    const { definitions, faults, leaseTtlMs, metrics, sweepMs, tools } = this.#options;
    const process = new TestProcess(id, this.#clock);
    const chance = seededRandom(id);
    const inner = await this.connect(id);
    const faulty = faults && faultyTransport(inner, { clock: this.#clock, process, faults });
    const node = await startNode({
      transport: faulty ?? inner,
      definitions,
      tools: tools ?? {},
      clock: faulty ? process.clock() : this.#clock,
      logger: this.#options.logger ?? silentLogger,
      metrics: metrics ?? noMetrics,
      random: () => chance.next(),
      nodeId: id,
      version: "0.0.0-test",
      drivers: [],
      leaseTtlMs: leaseTtlMs ?? LEASE_TTL_MS,
      sweepMs: sweepMs ?? SWEEP_MS,
      ...this.#options.perNode?.(id),
    });
    this.#members.set(id, { node, process, transport: faulty ?? inner, link: faulty?.link });
    return node;
  }

  async stop(id: string): Promise<void> {
    const { node, transport } = this.#member(id);
    await node.stop();
    this.#members.delete(id);
    await transport.close();
  }

  async crash(id: string): Promise<void> {
    const { link, node, process, transport } = this.#member(id);
    this.#members.delete(id);
    if (link) {
      process.end(); // Nothing of it runs any more, so there is nothing to wait for.
      return;
    }
    await transport.close();
    await node.crash();
  }

  async settled(): Promise<void> {
    const { partitions } = this.transport;
    await eventually(
      () => {
        const nodes = [...this.#members.values()].map(({ node }) => node);
        const held = nodes.flatMap((node) => node.partitions());
        const isWhole = held.length === partitions && new Set(held).size === partitions;
        return isWhole && nodes.every((node) => node.isReady());
      },
      { name: "every partition has one host", within: SETTLE_WITHIN_MS },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { link, process } of this.#members.values()) {
      process.resume();
      link?.mend();
    }
    for (const { node } of this.#members.values()) await node.stop();
    for (const { transport } of this.#members.values()) await transport.close();
    await this.#outside?.transport.close();
    this.#alive.port1.close();
  }
}
