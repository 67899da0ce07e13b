/** Where does the time of a turn go: step by step, by process, and by module in the node? */
import { actorClient } from "../../runtime/actor-client.ts";
import { systemClock } from "../../runtime/clock.ts";
import type { Transport } from "../../runtime/transport.ts";
import { BENCH_TENANT, IN_FLIGHT, PAYLOAD, ProfiledActor } from "../bench-actor.ts";
import { type Child, startChild } from "../child.ts";
import { until } from "../cluster.ts";
import { connectBerth } from "../connection.ts";
import type { Share } from "../cpu-profile.ts";
import type { Figure } from "../figure.ts";
import { preciseNow } from "../lines.ts";
import { keepInFlight } from "../load.ts";
import { type Usage, usageOf } from "../process-usage.ts";
import type { Bench, Sample, Scenario, Trial } from "../scenario.ts";
import { type Broker, startNats } from "../servers.ts";
import { percentile } from "../statistics.ts";
import type { TurnSteps } from "../turn-trace.ts";

const ACTORS = 1_024;
const TIMEOUT_MS = 10_000;
const SETTLE_MS = 30_000;
const US = 1_000;

const keyOf = (nth: number) => `profiled-${nth}`;

type Kind = "read" | "durable" | "told";

/** Sums over the calls of a stretch, in milliseconds; times from its start. */
interface Sums {
  calls: number;
  /** Until the message was handed to the connection. */
  encode: number;
  sent: number;
  answered: number;
  /** From the answer to the caller's next step. */
  decode: number;
}

interface Rig {
  readonly bench: Bench;
  readonly broker: Broker;
  readonly node: Child;
  readonly transport: Transport;
  readonly actors: number;
}

/** The transport of the caller, which notes when its one call of the moment is sent and answered. */
class CallerTrace {
  sums: Sums = emptySums();
  #since = 0;

  start(since: number): void {
    this.sums = emptySums();
    this.#since = since;
  }

  traced(transport: Transport): Transport {
    const { bus, mailboxes } = transport;
    return {
      ...transport,
      partitions: transport.partitions,
      bus: {
        ...bus,
        request: (...given) => this.#between(() => bus.request(...given)),
      },
      mailboxes: {
        ...mailboxes,
        send: (...given) => this.#between(() => mailboxes.send(...given)),
      },
      onReconnect: (listener) => transport.onReconnect(listener),
      close: () => transport.close(),
    };
  }

  async #between<T>(work: () => Promise<T>): Promise<T> {
    const sentAt = preciseNow();
    const answer = await work();
    this.sums.sent += sentAt - this.#since;
    this.sums.answered += preciseNow() - this.#since;
    return answer;
  }

  called(calledAt: number, returnedAt: number): void {
    this.sums.calls += 1;
    this.sums.encode -= calledAt - this.#since;
    this.sums.decode += returnedAt - this.#since;
  }
}

const emptySums = (): Sums => ({ calls: 0, encode: 0, sent: 0, answered: 0, decode: 0 });

async function openRig(bench: Bench): Promise<Rig> {
  const broker = await startNats(bench);
  const node = await startChild(bench, "actor-node", { natsUrl: broker.url, traced: true });
  const transport = await connectBerth(broker.url, "bench-client");
  bench.undo(() => transport.close());
  const actors = bench.options.isQuick ? IN_FLIGHT : ACTORS;
  // Made and in memory before anything is measured.
  const client = actorClient({ transport, clock: systemClock });
  const make = async (from: number) => {
    for (let nth = from; nth < actors; nth += IN_FLIGHT) {
      const handle = client.actor(ProfiledActor, BENCH_TENANT, keyOf(nth));
      await handle.count({ text: PAYLOAD }, { timeoutMs: TIMEOUT_MS });
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, (_, lane) => make(lane)));
  return { bench, broker, node, transport, actors };
}

interface Run {
  readonly sample: Sample;
  readonly caller: Sums;
  readonly node: TurnSteps;
  /** Of the caller, the node and the broker; undefined where the system does not say. */
  readonly usage: readonly (Usage | undefined)[];
}

/** One stretch of one kind of call, with every step noted. */
async function profile(rig: Rig, kind: Kind, inFlight: number, ms: number): Promise<Run> {
  const { actors, bench, broker, node } = rig;
  const trace = new CallerTrace();
  const client = actorClient({ transport: trace.traced(rig.transport), clock: systemClock });
  const handles = Array.from({ length: actors }, (_, nth) =>
    client.actor(ProfiledActor, BENCH_TENANT, keyOf(nth)),
  );
  const call = async (lane: number, nth: number) => {
    const handle = handles[(lane + nth * inFlight) % actors];
    const calledAt = preciseNow();
    if (kind === "read") await handle?.echo({ text: PAYLOAD }, { timeoutMs: TIMEOUT_MS });
    else if (kind === "durable") await handle?.count({ text: PAYLOAD }, { timeoutMs: TIMEOUT_MS });
    else await handle?.tally({ text: PAYLOAD }, { timeoutMs: TIMEOUT_MS });
    trace.called(calledAt, preciseNow());
  };
  const load = (forMs: number) => keepInFlight({ ms: forMs, signal: bench.signal }, inFlight, call);
  await load(bench.options.warmUpMs);
  await drained(rig);
  const pids = [process.pid, (await node.ask("pid")) as number, broker.pid];
  const since = preciseNow();
  trace.start(since);
  await node.ask("start-trace", since);
  const before = await Promise.all(pids.map(usageOf));
  const sample = await load(ms);
  if (kind === "told") await told(rig, sample.count);
  const after = await Promise.all(pids.map(usageOf));
  const usage = before.map((old, at) => differ(old, after[at]));
  const steps = (await node.ask("trace")) as TurnSteps;
  return { sample, caller: trace.sums, node: steps, usage };
}

const differ = (old: Usage | undefined, now: Usage | undefined): Usage | undefined =>
  old && now && { cpuMs: now.cpuMs - old.cpuMs, writes: now.writes - old.writes };

/** Resolves when the node has handled so many turns since the trace began. */
function told({ bench, node }: Rig, turns: number): Promise<void> {
  return until(bench, SETTLE_MS, "all tells are handled", async () => {
    return ((await node.ask("trace")) as TurnSteps).turns >= turns;
  });
}

/** Resolves when nothing is under way any more. */
async function drained({ bench, node }: Rig): Promise<void> {
  let last = -1;
  await until(bench, SETTLE_MS, "the node is at rest", async () => {
    const { turns } = (await node.ask("trace")) as TurnSteps;
    const rests = turns === last;
    last = turns;
    return rests;
  });
}

function figures({ caller, node, sample, usage }: Run, kind: Kind): Figure[] {
  const { calls } = caller;
  const perCall = (sum: number) => (sum / calls) * US;
  const perTurn = (sum: number) => (sum / node.turns) * US;
  const inNode = node.decode + node.wait + node.handler + node.encode + node.commit + node.answer;
  const trip = perCall(caller.answered - caller.sent);
  const whole = perCall(caller.encode + caller.decode);
  const mean = (label: string, us: number, note: string): Figure => ({
    label,
    unit: "us",
    values: [us],
    note: `${((us / whole) * 100).toFixed(0)} % ${note}`,
  });
  const way =
    kind === "told"
      ? [
          mean("stored by the broker, acknowledged", trip, "of the caller's wait"),
          mean(
            "from the caller to the node",
            perTurn(node.arrived) - perCall(caller.sent),
            "as much as the caller's wait: stored, then delivered",
          ),
        ]
      : [mean("to the node and back", trip - perTurn(inNode), "sockets, broker, event loops")];
  return [
    {
      label: "calls",
      unit: "rate",
      values: [(sample.count * 1_000) / sample.elapsedMs],
      note: `p50 ${percentile(sample.latenciesMs, 0.5).toFixed(2)} ms, with all steps noted`,
    },
    mean("the caller's wait, mean", whole, ""),
    mean("caller: encode and send", perCall(caller.sent + caller.encode), ""),
    ...way,
    mean("node: decode, route", perTurn(node.decode), ""),
    mean("node: wait for its turn", perTurn(node.wait), ""),
    mean("node: handler", perTurn(node.handler), ""),
    mean(kind === "read" ? "node: encode, answer" : "node: encode", perTurn(node.encode), ""),
    ...(kind === "read"
      ? []
      : [
          mean("node: commit, until confirmed", perTurn(node.commit), "the broker's store"),
          mean("node: outbox, answer", perTurn(node.answer), ""),
        ]),
    mean("caller: decode", perCall(caller.decode - caller.answered), ""),
    ...usageFigures(usage, calls),
  ];
}

function usageFigures(usage: readonly (Usage | undefined)[], calls: number): Figure[] {
  return usage.flatMap((used, at) => {
    const who = ["caller", "node", "broker"][at] ?? "";
    if (!used) return [];
    return [
      {
        label: `CPU of the ${who}`,
        unit: "us" as const,
        values: [(used.cpuMs * US) / calls],
        note: `a call; ${(used.writes / calls).toFixed(2)} writes a call`,
      },
    ];
  });
}

/** The commit alone, without an actor: what the broker and its client allow. */
async function floor(rig: Rig): Promise<readonly Figure[]> {
  const { actors, bench, transport } = rig;
  const { records } = transport;
  const refs = Array.from({ length: actors }, (_, nth) => ({
    kind: ProfiledActor.kind,
    tenant: BENCH_TENANT,
    key: `floor-${nth}`,
  }));
  const model = { kind: ProfiledActor.kind, tenant: BENCH_TENANT, key: keyOf(0) };
  const found = await records.load(model, false);
  if (!found) throw new Error("there is no record to copy");
  const revisions = new Map<number, number>();
  const options = { journaled: false, pending: false } as const;
  const commit = async (lane: number, nth: number) => {
    const at = (lane + nth * IN_FLIGHT) % actors;
    const ref = refs[at];
    if (!ref) return;
    const expected = revisions.get(at) ?? 0;
    revisions.set(at, await records.commit(ref, found.data, { ...options, expected }));
  };
  const load = (ms: number) => keepInFlight({ ms, signal: bench.signal }, IN_FLIGHT, commit);
  await load(bench.options.warmUpMs);
  const pids = [process.pid, rig.broker.pid];
  const before = await Promise.all(pids.map(usageOf));
  const sample = await load(bench.options.stretchMs);
  const after = await Promise.all(pids.map(usageOf));
  const [own, broker] = before.map((old, at) => differ(old, after[at]));
  return [
    {
      label: "records stored",
      unit: "rate",
      values: [(sample.count * 1_000) / sample.elapsedMs],
      note: `${found.data.length} bytes each, p50 ${percentile(sample.latenciesMs, 0.5).toFixed(2)} ms`,
    },
    ...usageFigures([own, undefined, broker], sample.count),
  ];
}

/** Its sampling costs something: a stretch of its own. */
async function modules(rig: Rig): Promise<readonly Figure[]> {
  const { bench, node } = rig;
  await node.ask("start-profile");
  await profile(rig, "durable", IN_FLIGHT, bench.options.stretchMs);
  const shares = (await node.ask("profile")) as readonly Share[];
  return shares.map(({ name, share }) => ({
    label: name,
    unit: "share" as const,
    values: [share],
    note: "of the node's busy time",
  }));
}

function open(rig: Rig): readonly Trial[] {
  const { stretchMs } = rig.bench.options;
  const trial = (name: string, kind: Kind, inFlight: number): Trial => ({
    name: `${name}, ${inFlight} in flight`,
    run: async () => figures(await profile(rig, kind, inFlight, stretchMs), kind),
  });
  return [
    trial("durable ask", "durable", IN_FLIGHT),
    trial("durable ask", "durable", 1),
    trial("read", "read", IN_FLIGHT),
    trial("tell", "told", IN_FLIGHT),
    { name: `commits alone, ${IN_FLIGHT} in flight`, run: () => floor(rig) },
    { name: "durable ask, node's CPU", run: () => modules(rig) },
  ];
}

export const turnProfile: Scenario = {
  name: "turn-profile",
  question: "where the time of a turn goes, step by step",
  open: async (bench) => open(await openRig(bench)),
};
