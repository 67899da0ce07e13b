/** The Docker driver as a node opens it, on the tests' engine, under a deployment of its own that leaves nothing behind. */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadConfig } from "../../deploy/config.ts";
import { type DriverParts, openDriver } from "../../deploy/drivers.ts";
import type { Driver, Wanted } from "../../executor/drivers/driver.ts";
import type { WorkerSpec } from "../../protocols/executor.ts";
import { systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { MemoryBroker } from "../../runtime/memory/broker.ts";
import { connectMemory } from "../../runtime/memory/transport.ts";
import type { Buckets } from "../../runtime/transport.ts";
import type { DriverRig } from "../conformance/driver.ts";
import { docker, EXECUTOR_IMAGE } from "./docker.ts";
import { eventually } from "./eventually.ts";
import { type Broker, NodeDouble } from "./executor-rig.ts";

export const NOTHING_WANTED: Wanted = {
  workers: new Set(),
  isWorkspaceWanted: () => Promise.resolve(false),
  leave: (_what, thrown) => {
    throw thrown;
  },
};

export interface DockerRig extends DriverRig {
  readonly deployment: string;
  readonly dataDir: string;
  readonly node: NodeDouble;
  readonly buckets: Buckets;
  /** Id of the worker's container. */
  containerOf(worker: string): Promise<string>;
  /** What the command printed, run in the worker's container as its user. */
  exec(worker: string, ...command: readonly string[]): Promise<string>;
}

export interface DockerRigOptions {
  /** Changes to the tier table; none keeps dormant workers unless it says so. */
  readonly tiers?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** More of a node's environment, and what else it opens its driver with. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly parts?: Pick<DriverParts, "credentials" | "audit" | "metrics">;
}

export async function dockerDriverRig(
  broker: Broker,
  { tiers = {}, environment = {}, parts = {} }: DockerRigOptions = {},
): Promise<DockerRig> {
  const dataDir = await mkdtemp(join(tmpdir(), "berth-docker-"));
  const deployment = `test-${randomBytes(4).toString("hex")}`;
  const node = await NodeDouble.open(broker);
  const memory = new MemoryBroker({ clock: systemClock, partitions: 4, mailboxCapacity: 100 });
  const { buckets } = connectMemory(memory);
  const none = { dormantWorkers: 0 };
  const table = Object.fromEntries(
    ["free", "pro", "enterprise"].map((tier) => [tier, { ...none, ...tiers[tier] }]),
  );
  const config = loadConfig({
    PATH: process.env["PATH"],
    BERTH_DRIVER: "docker",
    BERTH_DATA: dataDir,
    BERTH_DEPLOYMENT: deployment,
    BERTH_DOCKER_IMAGE: EXECUTOR_IMAGE,
    BERTH_KILL_GRACE: "500ms",
    BERTH_TIERS: JSON.stringify(table),
    ...environment,
  });
  const opened: Driver[] = [];
  const open = async () => {
    const { driver } = await openDriver({
      ...parts,
      config,
      clock: systemClock,
      logger: silentLogger,
      buckets,
      nodeId: "n1",
      workerUrl: broker.workerUrl,
      liveNodes: () => ["n1"],
      workerProgram: "",
    });
    opened.push(driver);
    return driver;
  };
  const containerOf = async (worker: string) => {
    const found = await docker.listContainers({
      all: true,
      filters: { name: [`berth-${deployment}-${worker}$`] },
    });
    if (found[0] === undefined) throw new Error(`${worker} has no container`);
    return found[0].Id;
  };
  const exec = async (worker: string, ...command: readonly string[]) =>
    execFileSync("docker", ["exec", await containerOf(worker), ...command], {
      encoding: "utf8",
      timeout: 30_000,
    });
  const driver = await open();
  return {
    deployment,
    dataDir,
    node,
    buckets,
    driver,
    connection: { natsUrl: broker.workerUrl, partitions: 64 },
    reopen: open,
    containerOf,
    exec,
    crash: async (worker) => {
      await docker.getContainer(await containerOf(worker)).kill({ signal: "SIGKILL" });
    },
    hellos: (worker) => (node.hellos.has(worker) ? 1 : 0),
    mark: async ({ worker }) => {
      await exec(worker, "touch", "/berth/workspace/mark");
    },
    hasMark: (spec) => hasMark(dataDir, spec),
    async [Symbol.asyncDispose]() {
      for (const { worker } of await driver.list())
        await driver.stop(worker, { keepWorkspace: false });
      const last = opened.at(-1) ?? driver;
      await last.sweep(NOTHING_WANTED);
      for (const one of opened) await one.dispose({ removeAll: one === last });
      await node[Symbol.asyncDispose]();
      await eventually(async () => (await leftovers(deployment)).length === 0, {
        name: "nothing of the deployment is left",
      });
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** Everything on the engine with the deployment's label. */
export async function leftovers(deployment: string): Promise<string[]> {
  const filters = { label: [`berth.deployment=${deployment}`] };
  const [containers, networks, volumes] = await Promise.all([
    docker.listContainers({ all: true, filters }),
    docker.listNetworks({ filters }),
    docker.listVolumes({ filters: JSON.stringify(filters) as never }),
  ]);
  return [
    ...containers.map(({ Names }) => `container ${Names[0]}`),
    ...networks.map(({ Name }) => `network ${Name}`),
    ...(volumes.Volumes ?? []).map(({ Name }) => `volume ${Name}`),
  ];
}

/** Looked at by a worker of its own would be a start; the kept image says it without one. */
async function hasMark(dataDir: string, { tenant, workspace_key }: WorkerSpec): Promise<boolean> {
  const image = join(dataDir, "disks", "volumes", tenant, `${workspace_key}.img`);
  try {
    const listing = execFileSync("debugfs", ["-R", "ls -p /", image], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    return listing.includes("/mark/");
  } catch {
    return false;
  }
}
