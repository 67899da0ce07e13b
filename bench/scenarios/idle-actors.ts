/** What does an actor cost that nobody asks: a record in the broker, and nothing in nodes? */
import type { NatsConnection } from "@nats-io/transport-node";
import { actorClient } from "../../runtime/actor-client.ts";
import type { Client } from "../../runtime/client.ts";
import { systemClock } from "../../runtime/clock.ts";
import { BENCH_TENANT, IN_FLIGHT, RestingActor } from "../bench-actor.ts";
import { type BenchNode, settled, startBenchNode, until } from "../cluster.ts";
import { connectBerth, connectRaw } from "../connection.ts";
import { type Figure, formatFigure } from "../figure.ts";
import { countConsumers, idleKey, lastingConsumers, writeIdleRecords } from "../idle-records.ts";
import { residentBytes } from "../memory.ts";
import type { Bench, Scenario } from "../scenario.ts";
import { type Broker, startNats } from "../servers.ts";
import { percentile } from "../statistics.ts";

/** Actors of the small and the large deployment, those made active at once, and asks that are timed. */
const FULL = {
  few: 1_000,
  many: 1_000_000,
  active: 100_000,
  asks: 500,
  restMs: 30_000,
  looks: 10,
  quietLooks: 20,
};
const QUICK = { few: 50, many: 2_000, active: 400, asks: 20, restMs: 500, looks: 2, quietLooks: 4 };
type Sizes = typeof FULL;

const TIMEOUT_MS = 10_000;
const CALM_MS = 180_000;
/** The broker drops what it cached of its files after 10 s without a reader. */
const BROKER_REST_MS = 15_000;
/** Seen between two measurements of a heap in which nothing was kept. */
const HEAP_NOISE_BYTES = 16;
const MODEL = "model";
/** Prime to every size used, so that the actors asked lie all over. */
const STRIDE = 7_919;

interface Rig {
  readonly bench: Bench;
  readonly broker: Broker;
  readonly nc: NatsConnection;
  readonly client: Client;
  readonly partitions: number;
  readonly sizes: Sizes;
}

/** What was seen with so many records in the broker. */
interface Sight {
  readonly startMs: number;
  readonly firstAsksMs: readonly number[];
  readonly heap: number;
  readonly resident: number;
  readonly brokerResident: number;
  readonly consumers: number;
}

async function openRig(bench: Bench): Promise<Rig> {
  const broker = await startNats(bench);
  const transport = await connectBerth(broker.url, "bench-client");
  bench.undo(() => transport.close());
  const nc = await connectRaw(broker.url, "bench-raw-client");
  bench.undo(() => nc.close());
  const client = actorClient({ transport, clock: systemClock });
  const sizes = bench.options.isQuick ? QUICK : FULL;
  return { bench, broker, nc, client, partitions: transport.partitions, sizes };
}

const askIdle = async (client: Client, nth: number) => {
  const handle = client.actor(RestingActor, BENCH_TENANT, idleKey(nth));
  await handle.echo({ text: "" }, { timeoutMs: TIMEOUT_MS });
};

/** Resolves when the node has all partitions and has looked through their records. */
async function calm(rig: Rig, node: BenchNode): Promise<void> {
  await settled(rig.bench, [node]);
  let quiet = 0;
  let last = -1;
  // Readers of records are consumers while they read.
  await until(rig.bench, CALM_MS, "the node has looked through the records", async () => {
    const now = await countConsumers(rig.nc);
    quiet = now === last ? quiet + 1 : 0;
    last = now;
    return quiet >= rig.sizes.quietLooks;
  });
}

async function startedNode(rig: Rig, id: string): Promise<{ node: BenchNode; startMs: number }> {
  const startedAt = performance.now();
  const { restMs } = rig.sizes;
  const node = await startBenchNode(rig.bench, rig.broker.url, id, { restMs });
  await settled(rig.bench, [node]);
  return { node, startMs: performance.now() - startedAt };
}

/** With records 0 to `records` - 1 in the broker. */
async function look(rig: Rig, records: number): Promise<Sight> {
  const { bench, broker, client, nc, sizes } = rig;
  // The first start finds records that no node has written and looks through all of them; the second is the usual one.
  const first = await startedNode(rig, `first-${records}`);
  await calm(rig, first.node);
  await first.node.stop();
  const { node, startMs } = await startedNode(rig, `second-${records}`);
  await calm(rig, node);
  const firstAsksMs: number[] = [];
  for (let ask = 0; ask < sizes.asks; ask += 1) {
    const askedAt = performance.now();
    await askIdle(client, (ask * STRIDE) % records);
    firstAsksMs.push(performance.now() - askedAt);
  }
  await systemClock.sleep(bench.options.isQuick ? 0 : BROKER_REST_MS, bench.signal);
  await empty(rig, node);
  const { heap, resident } = await node.memory();
  const consumers = await lastingConsumers(nc, sizes.looks);
  const sight = { brokerResident: await residentBytes(broker.pid), consumers };
  await node.stop();
  return { startMs, firstAsksMs, heap, resident, ...sight };
}

/** Resolves when the node has no actor in memory. */
function empty({ bench, sizes }: Rig, node: BenchNode): Promise<void> {
  const withinMs = sizes.restMs + CALM_MS;
  const isEmpty = async () => (await node.state()).activations === 0;
  return until(bench, withinMs, "all actors have left memory", isEmpty);
}

/** Bytes of heap that an active actor takes, and what is left of it when it has gone to rest. */
async function passivation(rig: Rig): Promise<{ active: number; passivated: number }> {
  const { bench, client, sizes } = rig;
  const { node } = await startedNode(rig, "passivating");
  const wake = async (from: number, to: number) => {
    let next = from;
    const lane = async () => {
      while (next < to && !bench.signal.aborted) {
        next += 1;
        await askIdle(client, next - 1);
      }
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
  };
  // Once, so that what is made for the first actors stands on both sides.
  await wake(0, Math.min(sizes.active, sizes.few));
  await empty(rig, node);
  const before = (await node.memory()).heap;
  await wake(0, sizes.active);
  const { activations } = await node.state();
  const during = (await node.memory()).heap;
  await empty(rig, node);
  const after = (await node.memory()).heap;
  await node.stop();
  return {
    active: (during - before) / Math.max(1, activations),
    passivated: Math.max(0, after - before) / sizes.active,
  };
}

async function run(bench: Bench): Promise<readonly Figure[]> {
  const rig = await openRig(bench);
  const { client, sizes } = rig;
  const { node } = await startedNode(rig, "model");
  await client.actor(RestingActor, BENCH_TENANT, MODEL).count({}, { timeoutMs: TIMEOUT_MS });
  await node.stop();
  const parts = { nc: rig.nc, partitions: rig.partitions, model: MODEL };
  bench.say(`idle-actors: ${sizes.few} records`);
  await writeIdleRecords(bench, parts, 0, sizes.few);
  const few = await look(rig, sizes.few);
  bench.say(`idle-actors: ${sizes.many} records`);
  await writeIdleRecords(bench, parts, sizes.few, sizes.many);
  const many = await look(rig, sizes.many);
  bench.say(`idle-actors: ${sizes.active} actors become active and go to rest`);
  return figures(sizes, few, many, await passivation(rig));
}

function figures(
  sizes: Sizes,
  few: Sight,
  many: Sight,
  heap: { readonly active: number; readonly passivated: number },
): Figure[] {
  const count = (n: number) => n.toLocaleString("en-US");
  const [less, more] = [count(sizes.few), count(sizes.many)];
  const added = sizes.many - sizes.few;
  const p50 = (sight: Sight) => percentile(sight.firstAsksMs, 0.5);
  const p99 = (sight: Sight) => percentile(sight.firstAsksMs, 0.99);
  return [
    {
      label: "consumers added",
      unit: "count",
      values: [many.consumers - few.consumers],
      goal: { atMost: 0 },
      note: `${more} records beside ${less}; ${few.consumers} consumers with either`,
    },
    {
      label: "node's heap, per record",
      unit: "bytes",
      values: [Math.max(0, many.heap - few.heap) / added],
      goal: { atMost: 1 },
      note: `live objects with ${less} and with ${more} records`,
    },
    {
      label: "heap left by a passivated actor",
      unit: "bytes",
      values: [heap.passivated],
      goal: { atMost: HEAP_NOISE_BYTES },
      note: `${count(sizes.active)} made active and let go; the goal is the noise of the measurement`,
    },
    { label: "heap of an active actor", unit: "bytes", values: [heap.active], note: "the same" },
    {
      label: "node's resident memory",
      unit: "bytes",
      values: [many.resident],
      note: `${formatBytes(few.resident)} with ${less} records`,
    },
    {
      label: "broker's resident memory, per record",
      unit: "bytes",
      values: [(many.brokerResident - few.brokerResident) / added],
      note: `${formatBytes(few.brokerResident)} with ${less}, ${formatBytes(many.brokerResident)} with ${more}`,
    },
    {
      label: "node's start until it has its partitions",
      unit: "ms",
      values: [many.startMs],
      note: `its process included; ${few.startMs.toFixed(0)} ms with ${less}`,
    },
    {
      label: "first ask of an idle actor, p50",
      unit: "ms",
      values: [p50(many)],
      note: `${p50(few).toFixed(2)} ms with ${less}; one at a time`,
    },
    {
      label: "p99",
      unit: "ms",
      values: [p99(many)],
      note: `${p99(few).toFixed(2)} ms with ${less}`,
    },
  ];
}

const formatBytes = (bytes: number) => formatFigure(bytes, "bytes");

export const idleActors: Scenario = {
  name: "idle-actors",
  question: "what actors cost that nobody asks, in the nodes and in the broker",
  open: (bench) => Promise.resolve([{ name: "idle actors", run: () => run(bench) }]),
};
