/** The process of the engine itself, to be killed and started again as it was. Only tests that run by themselves may do that. */
import { spawn } from "node:child_process";
import { openSync, readFileSync } from "node:fs";
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
}

const read = (path: string): string | undefined => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
};

/** Undefined where it is not ours to kill: another machine's, or a service that somebody else starts again. */
export function findEngineProcess(): EngineProcess | undefined {
  const pidOf = () => Number(read(PID_FILE)?.trim());
  const command = read(`/proc/${pidOf()}/cmdline`)?.split("\0").filter(Boolean);
  const [program, ...args] = command ?? [];
  if (process.getuid?.() !== 0 || program === undefined || !program.endsWith("dockerd"))
    return undefined;
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
    async start() {
      const out = openSync(log, "a");
      spawn(program, args, { detached: true, stdio: ["ignore", out, out], cwd: "/" }).unref();
      await eventually(() => docker.ping(), { name: "the engine answers", within: PATIENCE_MS });
    },
  };
}

function isZombie(pid: number): boolean {
  return / Z /.test(read(`/proc/${pid}/stat`) ?? " Z ");
}
