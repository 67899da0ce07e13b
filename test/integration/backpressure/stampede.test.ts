/**
 * R7 on a real nats-server: a node that comes to many actors with mail starts a few at a time. `BERTH_TEST_ACTORS`
 * sets their number (100,000).
 */
import { expect, test } from "vitest";
import type { Transport } from "../../../runtime/transport.ts";
import { startCluster } from "../../support/cluster.ts";
import { eventually } from "../../support/eventually.ts";
import { Latencies } from "../../support/latency.ts";
import { floodMany } from "../../support/mail-flood.ts";
import { Meter, meter } from "../../support/meter.ts";

const ACTORS = Number(process.env["BERTH_TEST_ACTORS"] ?? 100_000);

/** Counts the records that load at once. */
function counting(inner: Transport) {
  const loads = { now: 0, most: 0, all: 0 };
  const transport: Transport = {
    ...inner,
    records: {
      ...inner.records,
      async load(ref, journaled) {
        loads.now += 1;
        loads.all += 1;
        loads.most = Math.max(loads.most, loads.now);
        try {
          return await inner.records.load(ref, journaled);
        } finally {
          loads.now -= 1;
        }
      },
    },
  };
  return { loads, transport };
}

test(`a node starts ${ACTORS} actors with mail a few at a time, and answers asks meanwhile`, {
  timeout: 60_000 + ACTORS * 10,
}, async () => {
  const counted: { transport?: Transport } = {};
  await using cluster = await startCluster({
    definitions: [meter()],
    nodes: 0,
    partitions: 16,
    on: "nats",
    perNode: () => counted,
  });
  await floodMany(cluster.transport, ACTORS);
  const { loads, transport } = counting(await cluster.connect("counted"));
  counted.transport = transport;
  const heapBefore = process.memoryUsage().heapUsed;
  const startedAt = performance.now();
  const node = await cluster.start("n1");
  await cluster.settled();
  const other = cluster.client.actor(Meter, "acme", "unrelated");
  const asks = new Latencies();
  let mostActivations = 0;
  let mostHeap = 0;
  let asked = 0;
  while (node.census().turns < ACTORS + asked) {
    await asks.measure(() => other.add({}, { timeoutMs: 20_000 }));
    asked += 1;
    mostActivations = Math.max(mostActivations, node.census().activations);
    mostHeap = Math.max(mostHeap, process.memoryUsage().heapUsed - heapBefore);
  }
  const seconds = (performance.now() - startedAt) / 1_000;
  const heap = Math.round(mostHeap / 1024 ** 2);
  process.stdout.write(
    `${ACTORS} actors in ${seconds.toFixed(1)} s; at most ${mostActivations} activations, ` +
      `${loads.most} loads at once, ${heap} MiB heap; asks meanwhile: ${asks.summary}\n`,
  );
  await eventually(() => node.census().activations < 2_000, { name: "most have left" });
  expect(loads.most).toBeLessThanOrEqual(64);
  expect(mostActivations).toBeLessThan(2_000);
  expect(asks.quantile(0.99)).toBeLessThan(1_000);
  await cluster.stop("n1");
  await transport.close();
});
