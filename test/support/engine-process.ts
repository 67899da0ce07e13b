/** The process of the engine itself, to be killed and started again as it was. Only tests that run by themselves may do that. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { docker } from "./docker.ts";
import { eventually } from "./eventually.ts";

const PID_FILE = "/var/run/docker.pid";
const PATIENCE_MS = 60_000;

export interface EngineProcess {
  /** SIGKILL; resolves when it is gone. Containers go on. */
  kill(): Promise<void>;
  /** As it was started before; resolves when it answers. */
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
  const [program, ...args] = command ?? [];
  if (program === undefined || !program.endsWith("dockerd")) throw new Error("it is no dockerd");
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
      const out = openSync(log, "a");
      started = spawn(program, args, { detached: true, stdio: ["ignore", out, out], cwd: "/" });
      closeSync(out);
      await eventually(() => docker.ping(), { name: "the engine answers", within: PATIENCE_MS });
    },
  };
}

function isZombie(pid: number): boolean {
  return / Z /.test(read(`/proc/${pid}/stat`) ?? " Z ");
}
