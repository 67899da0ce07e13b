/** What does a turn cost whose state is committed before its answer: of many actors, and of one that everybody asks? */
import { actorClient } from "../../runtime/actor-client.ts";
import { systemClock } from "../../runtime/clock.ts";
import { BENCH_TENANT, BenchActor, IN_FLIGHT, PAYLOAD } from "../bench-actor.ts";
import { startChild } from "../child.ts";
import { connectBerth, connectRaw } from "../connection.ts";
import { HttpLane } from "../http-lanes.ts";
import { keepInFlight } from "../load.ts";
import { startRestate } from "../peers/restate.ts";
import type { Address } from "../peers/server-process.ts";
import { startWorkerd } from "../peers/workerd.ts";
import type { Durability } from "../place.ts";
import type { Bench, Comparison, Scenario, Stretch } from "../scenario.ts";
import { startNats } from "../servers.ts";

const MANY = 1_024;
const TIMEOUT_MS = 10_000;

/** One durable turn of the counter with this key; a lane has one open at a time. */
type Count = (lane: number, key: string) => Promise<void>;

interface Peer {
  readonly name: string;
  /** Absent when it is not installed. */
  readonly count: Count | undefined;
  /** Ours are to be so many times as many. Absent: shown for information. */
  readonly goals?: { readonly many: number; readonly hot: number };
}

async function openBerth(natsUrl: string, bench: Bench): Promise<Count> {
  await startChild(bench, "actor-node", { natsUrl });
  const transport = await connectBerth(natsUrl, "bench-client");
  bench.undo(() => transport.close());
  const client = actorClient({ transport, clock: systemClock });
  const handleOf = (key: string) => client.actor(BenchActor, BENCH_TENANT, key);
  const handles = new Map<string, ReturnType<typeof handleOf>>();
  return async (_lane, key) => {
    const handle = handles.get(key) ?? handleOf(key);
    handles.set(key, handle);
    await handle.count({ text: PAYLOAD }, { timeoutMs: TIMEOUT_MS });
  };
}

async function openRaw(natsUrl: string, bench: Bench): Promise<Count> {
  await startChild(bench, "responder", { natsUrl });
  const raw = await connectRaw(natsUrl, "bench-raw-client");
  bench.undo(() => raw.close());
  const payload = new TextEncoder().encode(PAYLOAD);
  return async (_lane, key) => {
    await raw.request(`bench.count.${key}`, payload, { timeout: TIMEOUT_MS });
  };
}

/** One connection per lane, as a pool of an HTTP client would keep. */
function openHttp(
  bench: Bench,
  address: Address | undefined,
  call: { readonly path: (key: string) => string; readonly type: string; readonly body: string },
): Count | undefined {
  if (!address) return undefined;
  const lanes = Array.from({ length: IN_FLIGHT }, () => new HttpLane(address));
  bench.undo(() => {
    for (const lane of lanes) lane.close();
    return Promise.resolve();
  });
  return async (lane, key) => {
    const answer = await lanes[lane]?.post(call.path(key), call.type, call.body);
    if (answer?.status !== 200) throw new Error(`the peer answers ${JSON.stringify(answer)}`);
  };
}

async function openPeers(
  natsUrl: string,
  bench: Bench,
  durability: Durability,
): Promise<readonly Peer[]> {
  const restate = await startRestate(bench, durability);
  const workerd = await startWorkerd(bench, durability);
  const goals = durability === "process";
  return [
    { name: "NATS request, stored before the answer", count: await openRaw(natsUrl, bench) },
    {
      name: "Restate, virtual object",
      count: openHttp(bench, restate, {
        path: (key) => `/counter/${key}/count`,
        type: "application/json",
        body: JSON.stringify({ text: PAYLOAD }),
      }),
      ...(goals ? { goals: { many: 10, hot: 1 } } : {}),
    },
    {
      name: "workerd, Durable Object",
      count: openHttp(bench, workerd, {
        path: (key) => `/${key}`,
        type: "text/plain",
        body: PAYLOAD,
      }),
      ...(goals ? { goals: { many: 2, hot: 1 } } : {}),
    },
  ];
}

const keyOf = (name: string, nth: number) => `${name}-${nth}`;

/** Makes the actors, so that what is measured is a turn of one that exists. */
async function prime(count: Count, actors: number): Promise<void> {
  let next = 0;
  const lane = async (number: number) => {
    while (next < actors) {
      next += 1;
      await count(number, keyOf("many", next - 1));
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, (_, number) => lane(number)));
}

async function open(bench: Bench, durability: Durability): Promise<readonly Comparison[]> {
  const { url: natsUrl } = await startNats(bench, durability);
  const ours = await openBerth(natsUrl, bench);
  const peers = await openPeers(natsUrl, bench, durability);
  const actors = bench.options.isQuick ? IN_FLIGHT : MANY;
  for (const count of [ours, ...peers.map((peer) => peer.count)]) {
    if (count) await prime(count, actors);
  }
  const measure = (count: Count, name: string, among: number) => (stretch: Stretch) =>
    keepInFlight(stretch, IN_FLIGHT, (lane, nth) =>
      count(lane, keyOf(name, (lane + nth * IN_FLIGHT) % among)),
    );
  const compare = (peer: Peer, key: string, name: string, among: number, goal?: number) => ({
    name: durability === "power" ? `${name}, synced` : name,
    peerName: peer.count ? peer.name : `${peer.name}: not installed`,
    ours: measure(ours, key, among),
    peer: peer.count && measure(peer.count, key, among),
    rows: [
      { label: "rate", metric: "rate", ...(goal === undefined ? {} : { goal: { atLeast: goal } }) },
      { label: "p50", metric: "p50" },
      { label: "p99", metric: "p99" },
    ] as const,
  });
  return peers.flatMap((peer) => [
    compare(peer, "many", `durable turn, ${actors} actors`, actors, peer.goals?.many),
    compare(peer, "hot", "durable turn, one actor", 1, peer.goals?.hot),
  ]);
}

export const durableTurn: Scenario = {
  name: "durable-turn",
  question: "a turn committed before its answer, of many actors and of one; all stores in memory",
  open: (bench) => open(bench, "process"),
};

export const syncedTurn: Scenario = {
  name: "synced-turn",
  question: "the same, each write synced to the disk before its answer",
  open: (bench) => open(bench, "power"),
};
