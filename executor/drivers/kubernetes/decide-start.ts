/** What a pod that starts has come to. Pure. */
import type { ErrorCode } from "../../../protocols/errors.ts";
import { hasEnded, type Pod } from "./pod.ts";

export type StartVerdict =
  | { readonly as: "waits" }
  | { readonly as: "runs" }
  | { readonly as: "failed"; readonly code: ErrorCode; readonly reason: string };

/** Reasons for which a container waits that only a person, or a later try, can end. */
const HOPELESS: readonly string[] = [
  "ErrImagePull",
  "ImagePullBackOff",
  "ErrImageNeverPull",
  "InvalidImageName",
  "ImageInspectError",
  "RegistryUnavailable",
  "CreateContainerConfigError",
  "CreateContainerError",
  "RunContainerError",
];
const MAX_REASON_UNITS = 300;

const failed = (code: ErrorCode, reason: string): StartVerdict => ({
  as: "failed",
  code,
  reason: reason.slice(0, MAX_REASON_UNITS),
});

export function decideStart(
  pod: Pod | undefined,
  { waitedMs, placeWithinMs }: { readonly waitedMs: number; readonly placeWithinMs: number },
): StartVerdict {
  if (pod === undefined) return failed("driver.failed", "its pod was removed while it started");
  if (pod.isLeaving) return failed("driver.failed", "its pod was told to end while it started");
  const hopeless = pod.containers.find(({ reason }) => HOPELESS.includes(reason));
  if (hopeless !== undefined)
    return failed("driver.failed", `${hopeless.reason}: ${hopeless.message}`);
  // One that ended already is an exit, not a failed start, once it has run.
  if (pod.worker?.state === "running" || pod.worker?.state === "ended") return { as: "runs" };
  if (hasEnded(pod)) return failed("driver.failed", endOf(pod));
  if (pod.unschedulable !== undefined && waitedMs >= placeWithinMs)
    return failed("capacity.exhausted", `no place in the cluster: ${pod.unschedulable}`);
  return { as: "waits" };
}

/** Of a pod that came to its end before its worker began. */
function endOf({ containers, message, reason }: Pod): string {
  const end = containers.find(({ end }) => end !== undefined && end.exitCode !== 0)?.end;
  const how = end && `its first container ended with code ${end.exitCode}: ${end.message.trim()}`;
  return how ?? [reason, message].filter(Boolean).join(": ");
}
