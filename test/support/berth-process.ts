/** `berth up` as a process of its own, to be killed: needs the built code, as a user's start does. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type DevFile, devFileSchema } from "../../protocols/api.ts";
import { eventually } from "./eventually.ts";
import { freePort } from "./free-port.ts";

export interface BerthProcess extends AsyncDisposable {
  readonly dataDir: string;
  readonly pid: number;
  dev(): Promise<DevFile>;
  output(): string;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
  /** SIGTERM; resolves with the exit code. */
  terminate(): Promise<number | null>;
  /** Starts again on the same data and ports. */
  start(): Promise<void>;
}

const PROGRAM = new URL("../../dist/deploy/main.js", import.meta.url).pathname;

/** Ports are fixed for the life of the fixture, so that clients and workers find it again. */
export async function spawnBerth(
  env: Readonly<Record<string, string>> = {},
): Promise<BerthProcess> {
  const dataDir = await mkdtemp(join(tmpdir(), "berth-process-"));
  const cache = new URL("../../.berth/cache", import.meta.url).pathname;
  const environment = {
    PATH: process.env["PATH"] ?? "",
    BERTH_DATA: dataDir,
    BERTH_CACHE: cache,
    BERTH_PORT: String(await freePort("gateway")),
    BERTH_METRICS_PORT: String(await freePort("metrics")),
    BERTH_NATS_PORT: String(await freePort("nats-server")),
    BERTH_DRIVER: "process",
    BERTH_TIERS: JSON.stringify({ free: { minWorkers: 1, maxWorkers: 2 } }),
    BERTH_KILL_GRACE: "1s",
    BERTH_ORPHAN_AFTER: "20s",
    ...env,
  };
  let child: ChildProcess | undefined;
  let text = "";
  const start = async () => {
    text = "";
    const started = spawn(process.execPath, [PROGRAM, "up", "--no-demo"], {
      env: environment,
      stdio: ["ignore", "pipe", "pipe"],
    });
    child = started;
    for (const stream of [started.stdout, started.stderr]) {
      stream.on("data", (chunk: Buffer) => {
        text += chunk.toString();
      });
    }
    await eventually(
      () => {
        // An early end is an answer too: waiting longer would only hide it.
        if (started.exitCode !== null || text.includes("berth ready")) return;
        throw new Error(`not ready: ${text.slice(-2_000)}`);
      },
      { within: 60_000, name: "berth is ready" },
    );
    if (started.exitCode !== null) throw new Error(`berth ended: ${text}`);
  };
  const end = async (signal: NodeJS.Signals) => {
    if (!child || child.exitCode !== null || child.signalCode !== null)
      return child?.exitCode ?? null;
    const gone = once(child, "exit");
    child.kill(signal);
    await gone;
    return child.exitCode;
  };
  await start();
  return {
    dataDir,
    get pid() {
      return child?.pid ?? 0;
    },
    dev: async () =>
      devFileSchema.parse(JSON.parse(await readFile(join(dataDir, "dev.json"), "utf8"))),
    output: () => text,
    async kill() {
      await end("SIGKILL");
    },
    terminate: () => end("SIGTERM"),
    start,
    async [Symbol.asyncDispose]() {
      await end("SIGTERM");
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}
