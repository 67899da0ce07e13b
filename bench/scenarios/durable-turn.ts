/** What does a turn cost whose state is committed before its answer: of many actors, and of one that everybody asks? */
import { actorClient } from "../../runtime/actor-client.ts";
import { systemClock } from "../../runtime/clock.ts";
import { BENCH_TENANT, BenchActor, IN_FLIGHT, PAYLOAD } from "../bench-actor.ts";
import { startChild } from "../child.ts";
import { connectBerth, connectRaw } from "../connection.ts";
import { keepInFlight } from "../load.ts";
import type { Bench, Comparison, Scenario } from "../scenario.ts";
import { startNats } from "../servers.ts";

const MANY = 1_024;
const TIMEOUT_MS = 10_000;

async function open(bench: Bench): Promise<readonly Comparison[]> {
  const natsUrl = await startNats(bench);
  await startChild(bench, "actor-node", { natsUrl });
  await startChild(bench, "responder", { natsUrl });
  const transport = await connectBerth(natsUrl, "bench-client");
  bench.undo(() => transport.close());
  const raw = await connectRaw(natsUrl, "bench-raw-client");
  bench.undo(() => raw.close());
  const client = actorClient({ transport, clock: systemClock });
  const payload = new TextEncoder().encode(PAYLOAD);

  const comparison = (name: string, label: string, actors: number): Comparison => {
    const handles = Array.from({ length: actors }, (_, n) =>
      client.actor(BenchActor, BENCH_TENANT, `${name.replaceAll(" ", "-")}-${n}`),
    );
    const pick = (lane: number, nth: number) => (lane + nth * IN_FLIGHT) % actors;
    return {
      name,
      peerName: "NATS request, stored in JetStream before the answer",
      ours: (stretch) =>
        keepInFlight(stretch, IN_FLIGHT, async (lane, nth) => {
          await handles[pick(lane, nth)]?.count({ text: PAYLOAD }, { timeoutMs: TIMEOUT_MS });
        }),
      peer: (stretch) =>
        keepInFlight(stretch, IN_FLIGHT, async (lane, nth) => {
          const subject = `bench.count.${name.replaceAll(" ", "-")}-${pick(lane, nth)}`;
          await raw.request(subject, payload, { timeout: TIMEOUT_MS });
        }),
      rows: [
        { label: `${label}, 64 in flight`, metric: "rate" },
        { label: "p50", metric: "p50" },
        { label: "p99", metric: "p99" },
      ],
    };
  };
  return [
    comparison("durable turn", `${MANY} actors`, MANY),
    comparison("hot actor", "one actor", 1),
  ];
}

export const durableTurn: Scenario = {
  name: "durable-turn",
  question: "a turn that is committed before it is answered, of many actors and of one",
  open,
};
