/** A whole Berth whose workers are containers, and users of it that nobody has served before. */
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import Docker from "dockerode";
import { BerthClient } from "../gateway/client.ts";
import { type DevFile, devFileSchema } from "../protocols/api.ts";
import type { TierOverrides } from "../protocols/tiers.ts";
import { startChild } from "./child.ts";
import { until } from "./cluster.ts";
import { CACHE_DIR, temporaryFolder } from "./place.ts";
import type { Bench } from "./scenario.ts";

/** Set by `npm run bench`, which builds the image; empty where there is no engine. */
export const IMAGE = process.env["BERTH_BENCH_IMAGE"] ?? "";
const GONE_MS = 30_000;
const PLENTY = 1_000_000_000;

export const docker = new Docker();

export interface DockerBerth {
  readonly deployment: string;
  readonly dev: DevFile;
  /** A client of a user of the pro tenant that has no worker and no workspace yet. */
  newUser(): Promise<BerthClient>;
  /** Containers that run a worker now. */
  workers(): Promise<number>;
  /** Waits until they have gone for idleness, and their supervisors know. */
  untilZero(): Promise<void>;
  /** Containers that are paused and nobody's. */
  dormant(): Promise<number>;
}

export async function startDockerBerth(
  bench: Bench,
  { tiers = {}, maxStarts = 8 }: { readonly tiers?: TierOverrides; readonly maxStarts?: number },
): Promise<DockerBerth> {
  const dataDir = await temporaryFolder(bench);
  const deployment = `bench-${randomBytes(4).toString("hex")}`;
  const limits = { jobsPerHour: PLENTY, queuedJobs: 100_000 };
  const table: TierOverrides = {
    free: { ...limits, minWorkers: 0, maxWorkers: 1, dormantWorkers: 0, ...tiers.free },
    pro: { ...limits, dormantWorkers: 0, ...tiers.pro },
    enterprise: { ...limits, minWorkers: 0 },
  };
  bench.undo(() => removeVolumes(deployment));
  await startChild(bench, "berth", {
    env: {
      BERTH_DATA: dataDir,
      BERTH_CACHE: CACHE_DIR,
      BERTH_PORT: "0",
      BERTH_METRICS_PORT: "0",
      BERTH_NATS_PORT: "0",
      BERTH_DRIVER: "docker",
      BERTH_DOCKER_IMAGE: IMAGE,
      BERTH_DEPLOYMENT: deployment,
      BERTH_FLEET_AGENTS: "",
      BERTH_KILL_GRACE: "1s",
      BERTH_START_CONCURRENCY: String(maxStarts),
      BERTH_TIERS: JSON.stringify(table),
    },
  });
  const dev = devFileSchema.parse(JSON.parse(await readFile(join(dataDir, "dev.json"), "utf8")));
  let users = 0;
  const count = async (part: string, status: string) => {
    const label = [`berth.deployment=${deployment}`, `berth.part=${part}`];
    return (await docker.listContainers({ filters: { label, status: [status] } })).length;
  };
  return {
    deployment,
    dev,
    newUser: () => newUser(dev, `bench-${++users}`),
    workers: async () => (await count("worker", "running")) + (await count("dormant", "running")),
    untilZero: () =>
      until(bench, GONE_MS, "the workers are gone", async () => (await known(dev)) === 0),
    dormant: () => count("dormant", "paused"),
  };
}

/** Workers on record. */
async function known({ keys, url }: DevFile): Promise<number> {
  const headers = { authorization: `Bearer ${keys.operator}` };
  const answer = await fetch(`${url}/v1/workers`, { headers });
  return ((await answer.json()) as { readonly data: readonly unknown[] }).data.length;
}

async function newUser({ url, keys }: DevFile, user: string): Promise<BerthClient> {
  const response = await fetch(`${url}/v1/tenants/dev-pro/keys`, {
    method: "POST",
    headers: { authorization: `Bearer ${keys.operator}`, "content-type": "application/json" },
    body: JSON.stringify({ name: user, user, scope: "user" }),
  });
  if (!response.ok) throw new Error(`no key for ${user}: ${await response.text()}`);
  const { key } = (await response.json()) as { readonly key: string };
  return new BerthClient({ url, key });
}

/** Workspaces outlive the deployment that made them; a benchmark's are nobody's. */
async function removeVolumes(deployment: string): Promise<void> {
  const filters = JSON.stringify({ label: [`berth.deployment=${deployment}`] });
  const { Volumes } = await docker.listVolumes({ filters: filters as never });
  for (const { Name } of Volumes) await docker.getVolume(Name).remove();
}

/** Milliseconds from the submission of a job to its first event that its container caused. */
export async function untilStarted(client: BerthClient): Promise<number> {
  const began = performance.now();
  let started: number | undefined;
  for await (const { data, type } of client.run({ agent: "shell", prompt: "echo x" })) {
    if (type === "job.started") started ??= performance.now() - began;
    if (type === "job.failed" || type === "job.interrupted")
      throw new Error(`${type}: ${JSON.stringify(data)}`);
  }
  if (started === undefined) throw new Error("the job ended without having started");
  return started;
}
