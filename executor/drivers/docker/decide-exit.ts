/** Why a worker's container ended, from what the engine and the worker itself say. Pure. */
import type { WorkerExit } from "../driver.ts";
import { lastWord } from "../last-word.ts";
import type { ContainerEnd } from "./engine.ts";

const MIB = 1024 ** 2;
/** As a shell counts a process that SIGKILL ended. */
const KILLED = 137;

export function decideExit(
  end: ContainerEnd | undefined,
  log: string,
): Pick<WorkerExit, "code" | "reason"> {
  if (end === undefined) return { code: "worker.lost", reason: "its container was removed" };
  const limit = `${Math.round(end.memoryLimitBytes / MIB)} MiB`;
  // A process of an agent may have been taken long before, and the worker have ended for another reason.
  if (end.isOutOfMemory && end.exitCode === KILLED)
    return { code: "worker.out_of_memory", reason: `out of memory: its limit is ${limit}` };
  const said = end.error !== "" ? end.error : lastWord(log);
  const how = `its container ended with code ${end.exitCode}`;
  return { code: "worker.lost", reason: said === "" ? how : `${how}: ${said}` };
}
