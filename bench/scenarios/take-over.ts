/** A node is killed under load: how long until its actors answer again, and is everything still counted once? */
import { asBerthError } from "../../protocols/errors.ts";
import { partitionOf } from "../../protocols/partition.ts";
import { actorClient } from "../../runtime/actor-client.ts";
import type { ActorHandle, Client } from "../../runtime/client.ts";
import { systemClock } from "../../runtime/clock.ts";
import { BENCH_TENANT } from "../bench-actor.ts";
import { type BenchNode, settled, startBenchNode, until } from "../cluster.ts";
import { connectBerth } from "../connection.ts";
import type { Figure } from "../figure.ts";
import { Ledger } from "../ledger.ts";
import { LedgerActor, mirrorOf } from "../ledger-actor.ts";
import type { Bench, Scenario, Trial } from "../scenario.ts";
import { startNats } from "../servers.ts";
import { percentile } from "../statistics.ts";

const NODES = 3;
const ACTORS = 512;
const QUICK_ACTORS = 48;
/** Each actor's caller counts, enters and rests so long: about 500 calls a second in all, far from any limit. */
const REST_MS = 2_000;
/** An ask that the dead node took with it is noticed after this long, and asked anew. */
const PROBE_MS = 500;
const CALL_MS = 2_000;
const ANSWER_MS = 60_000;
const DRAIN_MS = 60_000;
const BEFORE_MS = 1_000;
const GOAL_MS = 5_000;

interface Subject {
  readonly key: string;
  readonly partition: number;
  readonly handle: ActorHandle<typeof LedgerActor.messages>;
  readonly mirror: ActorHandle<typeof LedgerActor.messages>;
  readonly ledger: Ledger;
}

/** Counts and enters, one after the other, until `signal`. Failures are what the kills are for; the ledger notes them. */
async function keepCalling(subject: Subject, signal: AbortSignal): Promise<void> {
  const { handle, ledger } = subject;
  while (!signal.aborted) {
    await handle.count({}, { timeoutMs: CALL_MS }).then(
      ({ counted }) => ledger.counted(counted, true),
      (thrown: unknown) => noteUnknown(thrown, () => ledger.countUnknown()),
    );
    await handle.enter({}, { timeoutMs: ANSWER_MS }).then(
      () => ledger.entered(),
      (thrown: unknown) => noteUnknown(thrown, () => ledger.enterUnknown()),
    );
    await systemClock.sleep(REST_MS, signal);
  }
}

/** An error that says more than "it cannot be told" or "not now" is a mistake of the benchmark's. */
function noteUnknown(thrown: unknown, note: () => void): void {
  const error = asBerthError(thrown);
  if (error.retry === "never" && error.code !== "ask.timeout") throw error;
  note();
}

/** Milliseconds from `killedAt` to the answer of a turn that was asked for later and committed. */
async function probe({ handle, ledger }: Subject, killedAt: number): Promise<number> {
  while (performance.now() - killedAt < ANSWER_MS) {
    try {
      const { counted } = await handle.count({}, { timeoutMs: PROBE_MS });
      ledger.counted(counted, false);
      return performance.now() - killedAt;
    } catch (thrown) {
      noteUnknown(thrown, () => ledger.countUnknown());
    }
  }
  throw new Error(`an actor of the killed node did not answer for ${ANSWER_MS} ms`);
}

function subjectsOf(client: Client, partitions: number, actors: number): Subject[] {
  return Array.from({ length: actors }, (_, n) => {
    const key = `ledger-${n}`;
    return {
      key,
      partition: partitionOf({ kind: LedgerActor.kind, tenant: BENCH_TENANT, key }, partitions),
      handle: client.actor(LedgerActor, BENCH_TENANT, key),
      mirror: client.actor(LedgerActor, BENCH_TENANT, mirrorOf(key)),
      ledger: new Ledger(),
    };
  });
}

/** Every acknowledged entry has arrived; what is broken is returned. */
async function judge(bench: Bench, subjects: readonly Subject[]): Promise<string[]> {
  const broken: string[] = [];
  for (const { handle, key, ledger, mirror } of subjects) {
    const read = async () => {
      const own = await handle.totals({}, { timeoutMs: ANSWER_MS });
      return { own, mirror: await mirror.totals({}, { timeoutMs: ANSWER_MS }) };
    };
    await until(bench, DRAIN_MS, `the entries of ${key} arrive`, async () => {
      const totals = await read();
      return ledger.isComplete(totals.own, totals.mirror);
    }).catch((thrown: unknown) => broken.push(String(thrown)));
    const totals = await read();
    broken.push(...ledger.judge(totals.own, totals.mirror).map((text) => `${key}: ${text}`));
  }
  return broken;
}

/** Kills the node that has been up longest, waits for its actors, and starts another in its place. */
async function killOne(
  bench: Bench,
  natsUrl: string,
  nodes: BenchNode[],
  subjects: readonly Subject[],
  nth: number,
): Promise<number[]> {
  await settled(bench, nodes);
  await systemClock.sleep(BEFORE_MS, bench.signal);
  const victim = nodes.shift();
  if (!victim) throw new Error("there is no node to kill");
  const held = new Set((await victim.state()).partitions);
  const killedAt = performance.now();
  victim.kill();
  const orphans = subjects.filter(({ partition }) => held.has(partition));
  const waits = await Promise.all(orphans.map((subject) => probe(subject, killedAt)));
  nodes.push(await startBenchNode(bench, natsUrl, `bench-${NODES + nth}`));
  return waits;
}

async function run(bench: Bench): Promise<readonly Figure[]> {
  const kills = bench.options.isQuick ? 1 : bench.options.rounds;
  const { url: natsUrl } = await startNats(bench);
  const ids = Array.from({ length: NODES }, (_, n) => `bench-${n}`);
  const nodes = await Promise.all(ids.map((id) => startBenchNode(bench, natsUrl, id)));
  const transport = await connectBerth(natsUrl, "bench-client");
  bench.undo(() => transport.close());
  const client = actorClient({ transport, clock: systemClock });
  const actors = bench.options.isQuick ? QUICK_ACTORS : ACTORS;
  const subjects = subjectsOf(client, transport.partitions, actors);
  await settled(bench, nodes);
  const over = new AbortController();
  const callers = Promise.all(
    subjects.map((subject) => keepCalling(subject, AbortSignal.any([over.signal, bench.signal]))),
  );
  callers.catch(() => undefined);
  const waits: number[][] = [];
  for (let nth = 0; nth < kills; nth += 1) {
    bench.signal.throwIfAborted();
    bench.say(`take-over: kill ${nth + 1} of ${kills}`);
    waits.push(await killOne(bench, natsUrl, nodes, subjects, nth));
  }
  over.abort();
  await callers;
  const broken = await judge(bench, subjects);
  for (const text of broken) bench.say(text);
  return figures(waits, broken.length, subjects);
}

function figures(
  waits: readonly (readonly number[])[],
  broken: number,
  subjects: readonly Subject[],
): Figure[] {
  const all = waits.flat();
  const acked = subjects.reduce((sum, { ledger }) => sum + ledger.acked, 0);
  const of = `${all.length} actors of ${waits.length} killed nodes, ${NODES} nodes, default settings`;
  const perKill = (share: number) => waits.map((of1) => percentile(of1, share));
  return [
    { label: "until an actor answers, p50", unit: "ms", values: perKill(0.5), note: of },
    { label: "p99", unit: "ms", values: perKill(0.99), goal: { atMost: GOAL_MS }, note: of },
    { label: "longest", unit: "ms", values: perKill(1), note: of },
    {
      label: "R1, R2, R3 broken",
      unit: "count",
      values: [broken],
      goal: { atMost: 0 },
      note: `of ${acked.toLocaleString("en-US")} acknowledged calls, counted at the end`,
    },
  ];
}

export const takeOver: Scenario = {
  name: "take-over",
  question: "a node killed under load: when its actors answer again, and whether all counts hold",
  open: (bench) => {
    const trial: Trial = { name: "take-over", run: () => run(bench) };
    return Promise.resolve([trial]);
  },
};
