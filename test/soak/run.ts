/** A soak: load, random faults, and in the end an account of every job and of everything that was made. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { systemClock } from "../../runtime/clock.ts";
import { type Random, seededRandom } from "../chaos/random.ts";
import { leftovers } from "../support/docker-driver-rig.ts";
import { type EngineProcess, engineProcess, isEngineOurs } from "../support/engine-process.ts";
import { eventually } from "../support/eventually.ts";
import { evidenceOf } from "./evidence.ts";
import { FAULTS, type FaultKind, inject } from "./faults.ts";
import { keepSubmitting, settle, usersOf } from "./load.ts";
import { openStage, type SoakStage } from "./stage.ts";

export interface SoakOptions {
  readonly seed: number;
  readonly forMs: number;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

export interface SoakReport {
  readonly seed: number;
  readonly accepted: number;
  readonly ends: Readonly<Record<string, number>>;
  readonly faults: Readonly<Partial<Record<FaultKind, number>>>;
  /** Empty: nothing was lost, doubled or left behind. */
  readonly broken: readonly string[];
}

const FIRST_MS = 5_000;
const GAP_MS = { low: 3_000, high: 9_000 } as const;
/** Idle time-out, kept time, and a sweep. */
const GONE_MS = 90_000;

export async function soak(options: SoakOptions): Promise<SoakReport> {
  const { forMs, say, seed, signal } = options;
  const random = seededRandom(seed);
  const pause = (ms: number) => systemClock.sleep(ms, signal);
  const engine = isEngineOurs ? engineProcess() : undefined;
  await engine?.start();
  const stage = await openStage();
  const dataDirs = [stage.host.berth.dataDir, stage.second.dataDir];
  let report: Omit<SoakReport, "broken">;
  const broken: string[] = [];
  try {
    const users = await usersOf(stage.host);
    const over = new AbortController();
    const until = AbortSignal.any([signal, over.signal]);
    const load = keepSubmitting(users, seededRandom(seed + 1), pause, until);
    const faults = await breakThings({ stage, random, engine, pause }, { forMs, say, signal });
    over.abort();
    const accepted = await load;
    say(`soak: the load is over, ${accepted.length} jobs were accepted`);
    const account = await settle(accepted);
    broken.push(...account.broken, ...(await whatStays(stage)));
    if (broken.length > 0) for (const line of await evidenceOf(stage.host)) say(line);
    report = { seed, accepted: accepted.length, ends: account.ends, faults };
  } finally {
    await stage[Symbol.asyncDispose]();
    await engine?.stop();
  }
  broken.push(...hostLeftovers(dataDirs));
  return { ...report, broken };
}

async function breakThings(
  scene: {
    readonly stage: SoakStage;
    readonly random: Random;
    readonly engine: EngineProcess | undefined;
    readonly pause: (ms: number) => Promise<void>;
  },
  { forMs, say, signal }: Pick<SoakOptions, "forMs" | "say" | "signal">,
): Promise<Partial<Record<FaultKind, number>>> {
  const { pause, random } = scene;
  const kinds = FAULTS.filter((kind) => kind !== "kill-engine" || scene.engine !== undefined);
  const counts: Partial<Record<FaultKind, number>> = {};
  const end = performance.now() + forMs;
  await pause(FIRST_MS);
  while (performance.now() < end && !signal.aborted) {
    const kind = random.pick(kinds);
    const hit = await inject(kind, scene);
    if (hit !== undefined) {
      counts[kind] = (counts[kind] ?? 0) + 1;
      say(`soak: ${kind}: ${hit}`);
    }
    await pause(random.int(GAP_MS.low, GAP_MS.high));
  }
  return counts;
}

/** While the nodes still run: what belongs to users that went idle must go by itself. */
async function whatStays({ host }: SoakStage): Promise<string[]> {
  try {
    await eventually(
      async () => {
        const left = await leftovers(host.deployment);
        const stays = left.filter((name) => name.startsWith("volume"));
        const users = (await host.workers()).filter(({ labels }) => labels["berth.tier"] === "pro");
        if (stays.length + users.length > 0)
          throw new Error([...stays, ...users.map(({ id }) => id)].join(", "));
      },
      { within: GONE_MS, name: "idle users' containers and volumes go" },
    );
    return [];
  } catch (thrown) {
    return [String(thrown)];
  }
}

/** What no label names: mounts and loop devices of the nodes' folders. */
function hostLeftovers(dataDirs: readonly string[]): string[] {
  const loops = execFileSync("losetup", ["--list", "--noheadings", "--output", "BACK-FILE"], {
    encoding: "utf8",
    timeout: 10_000,
  });
  const mounts = readFileSync("/proc/self/mountinfo", "utf8");
  const lines = [...loops.split("\n"), ...mounts.split("\n")];
  return lines
    .filter((line) => dataDirs.some((dir) => line.includes(dir)))
    .map((line) => `left on the host: ${line}`);
}
