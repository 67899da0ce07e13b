/** How long does a user wait for a container: a new one, a dormant one, a warm one, and one that had gone to zero? */
import { systemClock } from "../../runtime/clock.ts";
import { until } from "../cluster.ts";
import {
  type DockerBerth,
  docker,
  IMAGE,
  startDockerBerth,
  untilStarted,
} from "../docker-berth.ts";
import { createToFirstOutput, floorNetwork, startBabbler } from "../engine-floor.ts";
import type { Figure } from "../figure.ts";
import type { Bench, Comparison, Measure, Scenario, Trial } from "../scenario.ts";
import { percentile } from "../statistics.ts";

const DORMANT = 4;
const FULL_MS = 120_000;
/** A worker goes so long after its last job. */
const IDLE_MS = 500;
/** As elsewhere, what is measured is a Berth that has been at work: its code is compiled after some hundred jobs. */
const WARM_UP_JOBS = 300;
const WARM_JOBS = 60;
const ZERO_STARTS = 15;
const QUICK = 1;

/** One after the other for the stretch, at least one. */
function serial(once: () => Promise<number>): Measure {
  return async ({ ms, signal }) => {
    const began = performance.now();
    const latenciesMs: number[] = [];
    do {
      signal.throwIfAborted();
      latenciesMs.push(await once());
    } while (performance.now() - began < ms);
    return { count: latenciesMs.length, elapsedMs: performance.now() - began, latenciesMs };
  };
}

async function cold(bench: Bench, network: string): Promise<Comparison> {
  const berth = await startDockerBerth(bench, { tiers: { pro: { idleTimeoutMs: IDLE_MS } } });
  return {
    name: "cold start",
    ours: serial(async () => await untilStarted(await berth.newUser())),
    peer: serial(() => createToFirstOutput(network)),
    peerName: "docker create + start of the same image",
    rows: [
      {
        label: "cold container: job submitted to its first event, p50",
        metric: "p50",
        goal: { atMost: 1.3 },
      },
    ],
  };
}

async function dormant(bench: Bench, network: string): Promise<readonly (Comparison | Trial)[]> {
  const dormantWorkers = bench.options.isQuick ? QUICK : DORMANT;
  const tiers = { pro: { dormantWorkers, idleTimeoutMs: IDLE_MS } };
  const berth = await startDockerBerth(bench, { tiers });
  const full = async () => {
    await until(
      bench,
      FULL_MS,
      "the dormant workers are back",
      async () => (await berth.dormant()) >= dormantWorkers,
    );
  };
  const babbler = await startBabbler(bench, network);
  const comparison: Comparison = {
    name: "dormant start",
    ours: serial(async () => {
      const user = await berth.newUser();
      await full();
      return await untilStarted(user);
    }),
    peer: serial(() => babbler.unpauseToFirstOutput()),
    peerName: "docker unpause to the next output",
    rows: [
      {
        label: "dormant container claimed: job submitted to its first event, p50",
        metric: "p50",
        goal: { atMost: 2 },
      },
    ],
  };
  return [comparison, { name: "from zero", run: () => fromZero(bench, berth, full) }];
}

/** The same user again and again, each time after its container has gone and left its workspace. */
async function fromZero(
  bench: Bench,
  berth: DockerBerth,
  full: () => Promise<void>,
): Promise<readonly Figure[]> {
  const user = await berth.newUser();
  await untilStarted(user);
  const waits: number[] = [];
  for (let n = 0; n < (bench.options.isQuick ? QUICK : ZERO_STARTS); n += 1) {
    await berth.untilZero();
    await full();
    waits.push(await untilStarted(user));
  }
  const note = "job submitted to its first event, workspace kept, dormant workers there";
  return [
    { label: "back from zero, p50", unit: "ms", values: waits, note },
    {
      label: "back from zero, p95",
      unit: "ms",
      values: [percentile(waits, 0.95)],
      goal: { atMost: 1_000 },
      note,
    },
  ];
}

async function warm(bench: Bench): Promise<readonly Figure[]> {
  const berth = await startDockerBerth(bench, {});
  const user = await berth.newUser();
  for (let n = 0; n < (bench.options.isQuick ? QUICK : WARM_UP_JOBS); n += 1)
    await untilStarted(user);
  const waits: number[] = [];
  for (let n = 0; n < (bench.options.isQuick ? QUICK : WARM_JOBS); n += 1) {
    waits.push(await untilStarted(user));
    await systemClock.sleep(20, bench.signal);
  }
  const note = "job submitted to its first event, one after the other";
  const share = (of: number) => [percentile(waits, of)];
  return [
    { label: "warm container, p50", unit: "ms", values: share(0.5), goal: { atMost: 10 }, note },
    { label: "warm container, p99", unit: "ms", values: share(0.99), goal: { atMost: 50 }, note },
  ];
}

export const starts: Scenario = {
  name: "starts",
  question: "how long a job waits for its container: new, dormant, warm, back from zero",
  open: async (bench) => {
    if (IMAGE === "") {
      bench.say("starts: no Docker Engine, nothing is measured");
      return [];
    }
    bench.uses(`docker ${(await docker.version()).Version}`);
    const network = await floorNetwork(bench);
    return [
      await cold(bench, network),
      ...(await dormant(bench, network)),
      { name: "warm start", run: () => warm(bench) },
    ];
  },
};
