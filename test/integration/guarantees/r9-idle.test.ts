/** R9: an idle actor costs a record in the broker and nothing else. */
import { jetstreamManager } from "@nats-io/jetstream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { NatsTransport } from "../../../runtime/nats/transport.ts";
import { probe } from "../../support/actors.ts";
import { type Cluster, startCluster } from "../../support/cluster.ts";
import { eventually } from "../../support/eventually.ts";
import { BROKERS, PATIENT, probeAt } from "./brokers.ts";

const ACTORS = 1_000;

describe.each(BROKERS)("on $name", ({ on }) => {
  let cluster: Cluster;
  let observer: NatsTransport;
  beforeAll(async () => {
    cluster = await startCluster({
      definitions: [probe({ passivateAfterMs: 500 })],
      nodes: 2,
      partitions: 4,
      on,
    });
    observer = (await cluster.connect("observer")) as NatsTransport;
  });
  afterAll(async () => {
    await observer.close();
    await cluster[Symbol.asyncDispose]();
  });

  const inMemory = () =>
    [...cluster.nodes.values()].reduce((sum, node) => sum + node.actors(10_000).length, 0);

  /** Durable consumers by stream: what is made for good. A node's short readings come and go. */
  async function durables(): Promise<Record<string, number>> {
    const manager = await jetstreamManager(observer.connection);
    const counted: Record<string, number> = {};
    for await (const stream of manager.streams.list()) {
      const name = stream.config.name;
      counted[name] = 0;
      for await (const consumer of manager.consumers.list(name))
        if (consumer.config.durable_name) counted[name] += 1;
    }
    return counted;
  }

  test("a thousand actors add no consumer and no stream, neither in memory nor at rest", async () => {
    const before = await durables();
    expect(Object.values(before).reduce((sum, n) => sum + n, 0)).toBeLessThanOrEqual(4 * 4);
    await Promise.all(
      Array.from({ length: ACTORS }, (_, n) =>
        probeAt(cluster, `k${n}`).add({ n: 1 }, { timeoutMs: 40_000 }),
      ),
    );
    expect(await durables()).toEqual(before);
    await eventually(() => inMemory() === 0, { name: "all have left memory", within: 30_000 });
    expect(await durables()).toEqual(before);
  }, 90_000);

  test("each comes back from its record alone", async () => {
    for (const n of [0, 1, ACTORS - 1])
      expect(await probeAt(cluster, `k${n}`).add({ n: 1 }, PATIENT)).toEqual({ total: 2 });
    await eventually(() => inMemory() === 0, { name: "and goes again", within: 20_000 });
  });

  test("an actor that only read leaves no record behind", async () => {
    expect((await probeAt(cluster, "looked-at").read({}, PATIENT)).exists).toBe(false);
    const ref = { kind: "probe", tenant: "acme", key: "looked-at" };
    expect(await cluster.transport.records.load(ref, false)).toBeUndefined();
  });
});
