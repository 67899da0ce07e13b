/** What does an ask to an active actor in another process cost, beside a bare request over the same broker? */
import { actorClient } from "../../runtime/actor-client.ts";
import { systemClock } from "../../runtime/clock.ts";
import { BENCH_TENANT, BenchActor, IN_FLIGHT, PAYLOAD } from "../bench-actor.ts";
import { startChild } from "../child.ts";
import { connectBerth, connectRaw } from "../connection.ts";
import { keepInFlight } from "../load.ts";
import type { Bench, Comparison, Scenario } from "../scenario.ts";
import { startNats } from "../servers.ts";

const ACTORS = 256;
const TIMEOUT_MS = 10_000;

async function open(bench: Bench): Promise<readonly Comparison[]> {
  const { url: natsUrl } = await startNats(bench);
  await startChild(bench, "actor-node", { natsUrl });
  await startChild(bench, "responder", { natsUrl });
  const transport = await connectBerth(natsUrl, "bench-client");
  bench.undo(() => transport.close());
  const raw = await connectRaw(natsUrl, "bench-raw-client");
  bench.undo(() => raw.close());

  const client = actorClient({ transport, clock: systemClock });
  const handles = Array.from({ length: ACTORS }, (_, n) =>
    client.actor(BenchActor, BENCH_TENANT, `actor-${n}`),
  );
  // Asked once, they are active; one that exists answers from memory.
  for (const handle of handles) await handle.count({ text: "" }, { timeoutMs: TIMEOUT_MS });
  const payload = new TextEncoder().encode(PAYLOAD);
  const pick = (lane: number, nth: number) => (lane + nth * IN_FLIGHT) % ACTORS;

  return [
    {
      name: "ask",
      peerName: "NATS request-reply",
      ours: (stretch) =>
        keepInFlight(stretch, IN_FLIGHT, async (lane, nth) => {
          await handles[pick(lane, nth)]?.echo({ text: PAYLOAD }, { timeoutMs: TIMEOUT_MS });
        }),
      peer: (stretch) =>
        keepInFlight(stretch, IN_FLIGHT, async (lane, nth) => {
          await raw.request(`bench.echo.${pick(lane, nth)}`, payload, { timeout: TIMEOUT_MS });
        }),
      rows: [
        { label: "read-only, 64 in flight", metric: "rate", goal: { atLeast: 0.85 } },
        { label: "p50", metric: "p50", goal: { atMost: 1.15 } },
        { label: "p99", metric: "p99" },
      ],
    },
  ];
}

export const ask: Scenario = {
  name: "ask",
  question: "an ask to an active actor in another process, beside a bare NATS request",
  open,
};
