/** A nats-server, nodes as processes of their own on it, and a client that is no node. */
import { actorClient } from "../../runtime/actor-client.ts";
import type { Client } from "../../runtime/client.ts";
import { systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { connectNats } from "../../runtime/nats/transport.ts";
import type { Transport } from "../../runtime/transport.ts";
import { startNats, type TestNats } from "./nats.ts";
import { type NodeProcess, type NodeSettings, startNodeProcess } from "./node-process.ts";

export interface ProcessCluster extends AsyncDisposable {
  readonly nats: TestNats;
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

export async function startProcesses(ids: readonly string[]): Promise<ProcessCluster> {
  const nats = await startNats();
  const transport = await connectNats({
    url: nats.url,
    name: "client",
    topology: {
      replicas: 1,
      partitions: PARTITIONS,
      mailboxCapacity: 10_000,
      journalRetentionMs: 3_600_000,
    },
    logger: silentLogger,
    clock: systemClock,
  });
  const nodes = new Map<string, NodeProcess>();
  const start: ProcessCluster["start"] = async (id, settings = {}) => {
    const node = await startNodeProcess({ url: nats.url, id, partitions: PARTITIONS, ...settings });
    nodes.set(id, node);
    return node;
  };
  const dispose = async () => {
    await Promise.all([...nodes.values()].map((node) => node[Symbol.asyncDispose]()));
    await transport.close();
    await nats[Symbol.asyncDispose]();
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
    nats,
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
