/** Why a worker's pod ended, from what the cluster and the worker itself say. Pure. */
import type { WorkerExit } from "../driver.ts";
import { lastWord } from "../last-word.ts";
import type { Pod } from "./pod.ts";

const MIB = 1024 ** 2;
const MAX_UNITS = 300;

export interface ExitView {
  /** The last that the worker wrote. */
  readonly log: string;
  readonly memoryBytes: number;
  /** The machine said that nothing of it is left, or its pod is gone. */
  readonly isConfirmed: boolean;
}

/** `pod` as it was last seen; undefined: nothing was ever seen of its end. */
export function decideExit(
  pod: Pod | undefined,
  view: ExitView,
): Pick<WorkerExit, "code" | "reason"> {
  const end = pod?.worker?.end;
  if (end?.reason === "OOMKilled") {
    const limit = `${Math.round(view.memoryBytes / MIB)} MiB`;
    return { code: "worker.out_of_memory", reason: `out of memory: its limit is ${limit}` };
  }
  return { code: "worker.lost", reason: lossOf(pod, view).slice(0, MAX_UNITS) };
}

function lossOf(pod: Pod | undefined, { isConfirmed, log }: ExitView): string {
  if (pod === undefined) return "its pod was removed";
  if (pod.reason === "Evicted") return `its pod was evicted: ${pod.message}`;
  if (pod.isOutOfSight || !isConfirmed) return "its pod's machine was lost";
  // Told to end by somebody else: a drain, a person, or the cluster, that needs the place.
  if (pod.isLeaving) return "its pod was told to end by the cluster";
  const said = pod.message || lastWord(log);
  const { end } = pod.worker ?? {};
  if (end === undefined) return `its pod ended: ${[pod.reason, said].filter(Boolean).join(": ")}`;
  const how = `its container ended with code ${end.exitCode}`;
  return said === "" ? how : `${how}: ${said}`;
}
