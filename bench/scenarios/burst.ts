/** Fifty users at once, none of whom has a worker: is each served, how long does it take, and what does an idle worker cost? */
import type { BerthClient } from "../../gateway/client.ts";
import { until } from "../cluster.ts";
import { docker, IMAGE, startDockerBerth, untilStarted } from "../docker-berth.ts";
import type { Figure } from "../figure.ts";
import { availableBytes } from "../memory.ts";
import type { Bench, Scenario } from "../scenario.ts";

const USERS = 50;
const QUICK_USERS = 2;
/** At once: these end in any order. */
const STARTS = 8;
const IDLE_MS = 10 * 60_000;
const SETTLE_MS = 60_000;

async function run(bench: Bench): Promise<readonly Figure[]> {
  const count = bench.options.isQuick ? QUICK_USERS : USERS;
  // Many workers of a large tier share a small machine: their limits are not what they use.
  const berth = await startDockerBerth(bench, {
    tiers: { pro: { idleTimeoutMs: IDLE_MS } },
    maxStarts: STARTS,
  });
  const users: BerthClient[] = [];
  for (let n = 0; n < count; n += 1) users.push(await berth.newUser());
  const before = await availableBytes();
  bench.say(`burst: ${count} users at once`);
  const began = performance.now();
  const waits = await Promise.allSettled(users.map((user) => untilStarted(user)));
  const elapsedMs = performance.now() - began;
  const served = waits.flatMap((wait) => (wait.status === "fulfilled" ? [wait.value] : []));
  for (const wait of waits) if (wait.status === "rejected") bench.say(String(wait.reason));
  await until(bench, SETTLE_MS, "all workers run", async () => (await berth.workers()) === count);
  const after = await availableBytes();
  const perWorker = (before - after) / count;
  const ranks = served.toSorted((x, y) => x - y);
  const isInOrder = (wait: number, n: number) => Math.abs(ranks.indexOf(wait) - n) <= STARTS;
  const inOrder = served.filter(isInOrder).length;
  return [
    {
      label: `burst of ${count} cold users: failed`,
      unit: "count",
      values: [count - served.length],
      goal: { atMost: 0 },
      note: `${(elapsedMs / 1_000).toFixed(1)} s until the last one's first event`,
    },
    {
      label: "burst: starts per second",
      unit: "rate",
      values: [(served.length * 1_000) / elapsedMs],
      note: "the engine alone starts four to five a second here",
    },
    {
      label: "burst: admitted in the order asked, of all",
      unit: "share",
      values: [inOrder / Math.max(1, served.length)],
      note: "within the starts that run at once",
    },
    {
      label: "memory of an idle worker",
      unit: "bytes",
      values: [perWorker],
      note: `what the machine has less for ${count} of them, the engine's own included`,
    },
    {
      label: "workers that this machine would hold",
      unit: "count",
      values: [Math.floor(before / perWorker)],
      note: "by memory alone, extrapolated",
    },
  ];
}

export const burst: Scenario = {
  name: "burst",
  question: "fifty users at once without a worker; what an idle worker costs",
  open: async (bench) => {
    if (IMAGE === "") {
      bench.say("burst: no Docker Engine, nothing is measured");
      return [];
    }
    bench.uses(`docker ${(await docker.version()).Version}`);
    return [{ name: "burst", run: () => run(bench) }];
  },
};
