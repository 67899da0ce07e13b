/** The process of the engine itself, to be killed and started again as it was. Only tests that run by themselves may do that. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { docker } from "./docker.ts";
import { eventually } from "./eventually.ts";

const PID_FILE = "/var/run/docker.pid";
const CONTAINERD_PID_FILE = "/var/run/docker/containerd/containerd.pid";
/** Where another file's tests have stopped the one that they had started. */
const AS_WE_START_IT = ["dockerd", "--live-restore"];
const PATIENCE_MS = 60_000;

export interface EngineProcess {
  /** SIGKILL; resolves when it is gone. Containers go on. */
  kill(): Promise<void>;
  /** As it was started before, unless it runs; resolves when it answers. */
  start(): Promise<void>;
  /** The last one that was started here: SIGTERM, and wait. */
  stop(): Promise<void>;
}

const read = (path: string): string | undefined => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
};

/** Whether `npm test` started the engine. One that was there before is not ours to kill. */
export const isEngineOurs = process.env["BERTH_TEST_ENGINE"] === "own";

/** Of the engine that `npm test` started. The one that a test starts in its place ends with the tests. */
export function engineProcess(): EngineProcess {
  const pidOf = () => Number(read(PID_FILE)?.trim());
  const command = read(`/proc/${pidOf()}/cmdline`)?.split("\0").filter(Boolean);
  const [program, ...args] = command ?? AS_WE_START_IT;
  if (!program?.endsWith("dockerd")) throw new Error(`it is no dockerd: ${program}`);
  let started: ChildProcess | undefined;
  const log = join(tmpdir(), `berth-engine-${process.pid}.log`);
  return {
    async kill() {
      const pid = pidOf();
      process.kill(pid, "SIGKILL");
      await eventually(() => read(`/proc/${pid}/cmdline`) === undefined || isZombie(pid), {
        name: "the engine is gone",
        within: PATIENCE_MS,
      });
    },
    async stop() {
      const child = started;
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGTERM");
      await eventually(() => child.exitCode !== null || child.signalCode !== null, {
        name: "the engine stops",
        within: PATIENCE_MS,
      });
    },
    async start() {
      if (await answers()) return;
      await forgetContainerd();
      const out = openSync(log, "a");
      started = spawn(program, args, { detached: true, stdio: ["ignore", out, out], cwd: "/" });
      closeSync(out);
      await eventually(() => docker.ping(), { name: "the engine answers", within: PATIENCE_MS });
    },
  };
}

async function answers(): Promise<boolean> {
  try {
    await docker.ping();
    return true;
  } catch {
    return false;
  }
}

/**
 * The engine's own containerd dies with it. Where nobody waits for it, its number stays in use, and an engine that starts
 * takes it for alive.
 */
async function forgetContainerd(): Promise<void> {
  const pid = Number(read(CONTAINERD_PID_FILE)?.trim() ?? "0");
  if (!(pid > 0)) return;
  await eventually(() => read(`/proc/${pid}/cmdline`) === undefined || isZombie(pid), {
    name: "the engine's containerd is gone",
    within: PATIENCE_MS,
  });
  rmSync(CONTAINERD_PID_FILE, { force: true });
}

function isZombie(pid: number): boolean {
  return / Z /.test(read(`/proc/${pid}/stat`) ?? " Z ");
}
