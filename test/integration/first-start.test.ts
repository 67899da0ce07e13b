/** Processes that all start at once on a broker that is new: nodes make its streams, a gateway waits for them. */
import { jetstreamManager } from "@nats-io/jetstream";
import { expect, test } from "vitest";
import { BUCKETS } from "../../protocols/subjects.ts";
import { systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { connectNats, type NatsTransport } from "../../runtime/nats/transport.ts";
import { startNats } from "../support/nats.ts";
import { startNatsCluster } from "../support/nats-cluster.ts";

const topology = { replicas: 1, partitions: 4, mailboxCapacity: 100, journalRetentionMs: 60_000 };

function dial(url: string, of: Parameters<typeof connectNats>[0]["topology"]) {
  return connectNats({ url, name: "test", logger: silentLogger, clock: systemClock, topology: of });
}

/** Whether it can be read, of each bucket. */
async function unreadable({ buckets }: NatsTransport): Promise<string[]> {
  const names = Object.keys(BUCKETS).filter((name) => name !== "actors");
  const wrong: string[] = [];
  for (const name of names) {
    await buckets.get(name as keyof typeof BUCKETS, "none").catch((thrown: unknown) => {
      wrong.push(`${name}: ${String(thrown)}`);
    });
  }
  return wrong;
}

test("who finds the streams of a new broker finds all of them", { timeout: 60_000 }, async () => {
  await using nats = await startNats();
  const waiting = dial(nats.url, "existing").then(async (transport) => {
    const wrong = await unreadable(transport);
    await transport.close();
    return wrong;
  });
  const node = await dial(nats.url, topology);
  expect(await waiting).toEqual([]);
  const manager = await jetstreamManager(node.connection);
  const made: { readonly name: string; readonly at: number }[] = [];
  for await (const { config, created } of manager.streams.list())
    made.push({ name: config.name, at: Date.parse(created) });
  expect(made.toSorted((a, b) => a.at - b.at).at(-1)?.name).toBe("BERTH_JOURNAL");
  await node.close();
});

test("a node that starts on three new servers can write at once", {
  timeout: 120_000,
}, async () => {
  await using cluster = await startNatsCluster();
  const started = await Promise.all(
    [1, 2].map(() => dial(cluster.url, { ...topology, replicas: 3 })),
  );
  const [, second] = started;
  const value = new TextEncoder().encode("{}");
  // One try each, without the patience that callers have.
  for (const name of Object.keys(BUCKETS).filter((bucket) => bucket !== "actors"))
    await second?.buckets.put(name as keyof typeof BUCKETS, "first", value);
  await Promise.all(started.map((transport) => transport.close()));
});
