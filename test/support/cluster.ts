/** The kit's cluster over the memory broker, a real nats-server or three of them. */

import { systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { MemoryBroker } from "../../runtime/memory/broker.ts";
import { connectMemory } from "../../runtime/memory/transport.ts";
import { connectNats } from "../../runtime/nats/transport.ts";
import {
  startTestCluster,
  type TestCluster,
  type TestClusterOptions,
} from "../../runtime/testkit/cluster.ts";
import type { Transport } from "../../runtime/transport.ts";
import { startNats, type TestNats } from "./nats.ts";
import { startNatsCluster, type TestNatsCluster } from "./nats-cluster.ts";

export interface ClusterOptions extends Omit<TestClusterOptions, "connect" | "url"> {
  /** `nats-cluster`: three servers, every stream on each of them. */
  readonly on?: "memory" | "nats" | "nats-cluster";
  /** Stands between a connection and who has it: a node's by its id, "client", or what `connect` was given. */
  readonly wrap?: (inner: Transport, name: string) => Transport;
}

export interface Cluster extends Omit<TestCluster, "broker"> {
  /** Only on "nats". */
  readonly nats: TestNats;
  /** Only on "nats-cluster". */
  readonly natsCluster: TestNatsCluster;
  /** Only on "memory". */
  readonly broker: MemoryBroker;
}

const PARTITIONS = 4;

export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const { clock = systemClock, mailboxCapacity = 10_000, on, partitions = PARTITIONS } = options;
  const nats = on === "nats" ? await startNats() : undefined;
  const natsCluster = on === "nats-cluster" ? await startNatsCluster() : undefined;
  const url = (natsCluster ?? nats)?.url;
  const broker = new MemoryBroker({ clock, partitions, mailboxCapacity });
  const replicas = natsCluster ? 3 : 1;
  const topology = { replicas, partitions, mailboxCapacity, journalRetentionMs: 3_600_000 };
  const dial = (name: string) =>
    url === undefined
      ? connectMemory(broker)
      : connectNats({ url, name, topology, logger: silentLogger, clock: systemClock });
  const cluster = await startTestCluster({
    ...options,
    async connect(name) {
      const transport = await dial(name);
      return options.wrap?.(transport, name) ?? transport;
    },
  });
  return {
    client: cluster.client,
    transport: cluster.transport,
    nats: nats!,
    natsCluster: natsCluster!,
    broker,
    get nodes() {
      return cluster.nodes;
    },
    node: (id) => cluster.node(id),
    start: (id) => cluster.start(id),
    stop: (id) => cluster.stop(id),
    crash: (id) => cluster.crash(id),
    faultsOf: (id) => cluster.faultsOf(id),
    connect: (name) => cluster.connect(name),
    settled: () => cluster.settled(),
    async [Symbol.asyncDispose]() {
      await cluster[Symbol.asyncDispose]();
      await nats?.[Symbol.asyncDispose]();
      await natsCluster?.[Symbol.asyncDispose]();
    },
  };
}
