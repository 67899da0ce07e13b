/** One nats-server or three, nodes as processes of their own on them, and a client that is no node. */
import { expect } from "vitest";
import { actorClient } from "../../runtime/actor-client.ts";
import type { Client } from "../../runtime/client.ts";
import { systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { connectNats } from "../../runtime/nats/transport.ts";
import type { Transport } from "../../runtime/transport.ts";
import { eventually } from "./eventually.ts";
import { startNats, type TestNats } from "./nats.ts";
import { startNatsCluster, type TestNatsCluster } from "./nats-cluster.ts";
import { type NodeProcess, type NodeSettings, startNodeProcess } from "./node-process.ts";

export interface ProcessClusterOptions {
  /** On three servers every stream is on each of them (default: one). */
  readonly on?: "nats" | "nats-cluster";
}

export interface ProcessCluster extends AsyncDisposable {
  /** Only on "nats". */
  readonly nats: TestNats;
  /** Only on "nats-cluster". */
  readonly natsCluster: TestNatsCluster;
  readonly transport: Transport;
  readonly client: Client;
  readonly nodes: ReadonlyMap<string, NodeProcess>;
  /** Starts a node, or one of that id again; resolves when it is ready. */
  start(id: string, settings?: Partial<NodeSettings>): Promise<NodeProcess>;
  node(id: string): NodeProcess;
  /** What a node has counted, by metric; summed over labels. */
  counts(id: string): Promise<Record<string, number>>;
  /** Partitions by the id of the live node that has claimed each; those without are left out. */
  claims(): Promise<Map<number, string>>;
}

const PARTITIONS = 16;
const decoder = new TextDecoder();

export async function startProcesses(
  ids: readonly string[],
  { on = "nats" }: ProcessClusterOptions = {},
): Promise<ProcessCluster> {
  const nats = on === "nats" ? await startNats() : undefined;
  const natsCluster = on === "nats-cluster" ? await startNatsCluster() : undefined;
  const url = (natsCluster ?? nats!).url;
  const replicas = natsCluster ? 3 : 1;
  const transport = await connectNats({
    url,
    name: "client",
    topology: {
      replicas,
      partitions: PARTITIONS,
      mailboxCapacity: 10_000,
      journalRetentionMs: 3_600_000,
    },
    logger: silentLogger,
    clock: systemClock,
  });
  const nodes = new Map<string, NodeProcess>();
  const start: ProcessCluster["start"] = async (id, settings = {}) => {
    const node = await startNodeProcess({
      ...{ url, id, replicas, partitions: PARTITIONS },
      ...settings,
    });
    nodes.set(id, node);
    return node;
  };
  const dispose = async () => {
    await Promise.all([...nodes.values()].map((node) => node[Symbol.asyncDispose]()));
    await transport.close();
    await nats?.[Symbol.asyncDispose]();
    await natsCluster?.[Symbol.asyncDispose]();
  };
  try {
    await Promise.all(ids.map((id) => start(id)));
  } catch (thrown) {
    await dispose();
    throw thrown;
  }
  const list = async (bucket: "nodes" | "partitions") =>
    (await transport.buckets.list(bucket, "")).map(({ key, value }) => ({
      key,
      value: JSON.parse(decoder.decode(value)) as Record<string, unknown>,
    }));
  return {
    nats: nats!,
    natsCluster: natsCluster!,
    transport,
    client: actorClient({ transport, clock: systemClock }),
    nodes,
    start,
    node(id) {
      const node = nodes.get(id);
      if (!node) throw new Error(`no node ${id} was started`);
      return node;
    },
    async counts(id) {
      const data = await transport.bus.request(`test.counts.${id}`, new Uint8Array(), 5_000);
      return JSON.parse(decoder.decode(data)) as Record<string, number>;
    },
    async claims() {
      const live = new Map(
        (await list("nodes")).map(({ key, value }) => [key, value["incarnation"]]),
      );
      const claims = new Map<number, string>();
      for (const { key, value } of await list("partitions")) {
        const node = String(value["node"]);
        if (live.has(node) && live.get(node) === value["incarnation"])
          claims.set(Number(key), node);
      }
      return claims;
    },
    [Symbol.asyncDispose]: dispose,
  };
}

/** How many partitions each node has. */
export function shares(claims: ReadonlyMap<number, string>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const node of claims.values()) counts[node] = (counts[node] ?? 0) + 1;
  return counts;
}

/** Resolves when every partition has a live owner and the owners are these, each with its even share. */
export async function spread(cluster: ProcessCluster, ids: readonly string[]): Promise<void> {
  await eventually(
    async () => {
      const counts = shares(await cluster.claims());
      expect(Object.keys(counts).toSorted()).toEqual(ids.toSorted());
      expect(Object.values(counts).reduce((sum, n) => sum + n, 0)).toBe(PARTITIONS);
      expect(Math.max(...Object.values(counts))).toBe(Math.ceil(PARTITIONS / ids.length));
    },
    { within: 20_000, name: `${ids.join(", ")} share the partitions` },
  );
}
