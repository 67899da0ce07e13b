/** Two nodes of one deployment on one engine: one with broker and gateway, one alone. Both can be killed and come back. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { EXECUTOR_IMAGE } from "../support/docker.ts";
import { type DockerBerth, spawnDockerBerth } from "../support/docker-berth.ts";
import { eventually } from "../support/eventually.ts";

export interface SecondNode {
  readonly dataDir: string;
  kill(): Promise<void>;
  start(): Promise<void>;
  /** In order, its workers with it. */
  stop(): Promise<void>;
}

export interface SoakStage extends AsyncDisposable {
  readonly host: DockerBerth;
  readonly second: SecondNode;
}

const PLENTY = 1_000_000_000;
const PROGRAM = new URL("../../dist/deploy/main.js", import.meta.url).pathname;
const START_MS = 60_000;

/** Short times, so that a soak of minutes sees many lives of a worker. */
const ENV = {
  BERTH_SWEEP_EVERY: "3s",
  BERTH_ORPHAN_AFTER: "20s",
  BERTH_KILL_GRACE: "1s",
  BERTH_FLEET_AGENTS: "",
  BERTH_TIERS: JSON.stringify({
    free: { minWorkers: 1, maxWorkers: 2, dormantWorkers: 1, jobsPerHour: PLENTY },
    pro: {
      idleTimeoutMs: "3s",
      workspaceKeptMs: "2s",
      dormantWorkers: 1,
      jobsPerHour: PLENTY,
    },
    enterprise: { minWorkers: 0, dormantWorkers: 0 },
  }),
};

export async function openStage(): Promise<SoakStage> {
  const host = await spawnDockerBerth(ENV);
  const second = await secondNode(host);
  await second.start();
  return {
    host,
    second,
    async [Symbol.asyncDispose]() {
      await second.stop();
      await host[Symbol.asyncDispose]();
      await rm(second.dataDir, { recursive: true, force: true });
    },
  };
}

async function secondNode(host: DockerBerth): Promise<SecondNode> {
  const dataDir = await mkdtemp(join(tmpdir(), "berth-soak-"));
  const { nats_url, nats_creds = "" } = await host.berth.dev();
  let child: ChildProcess | undefined;
  let said = "";
  const end = async (signal: NodeJS.Signals) => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill(signal);
    await gone;
  };
  return {
    dataDir,
    kill: () => end("SIGKILL"),
    stop: () => end("SIGTERM"),
    async start() {
      said = "";
      const started = spawn(
        process.execPath,
        [PROGRAM, "node", "--nats", nats_url, "--end-workers"],
        {
          env: {
            ...ENV,
            BERTH_NATS_CREDS: nats_creds,
            BERTH_NATS_AUTH: dirname(nats_creds),
            PATH: process.env["PATH"] ?? "",
            BERTH_DATA: dataDir,
            BERTH_NODE_ID: "second",
            BERTH_NODE_PORT: "0",
            BERTH_DRIVER: "docker",
            BERTH_DOCKER_IMAGE: EXECUTOR_IMAGE,
            BERTH_DEPLOYMENT: host.deployment,
          },
          stdio: ["ignore", "pipe", "pipe"],
        },
      );
      child = started;
      for (const stream of [started.stdout, started.stderr])
        stream.on("data", (chunk: Buffer) => {
          said = (said + chunk.toString()).slice(-10_000);
        });
      await eventually(
        () => {
          if (started.exitCode !== null || said.includes("ready http")) return;
          throw new Error(`not ready: ${said.slice(-1_000)}`);
        },
        { within: START_MS, name: "the second node is ready" },
      );
      if (started.exitCode !== null) throw new Error(`the second node ended: ${said}`);
    },
  };
}
