/** What a Sandbox whose pod is not there yet has come to. Pure. */
import type { ErrorCode } from "../../../protocols/errors.ts";
import { isQuotaUsedUp } from "./resources.ts";
import type { Sandbox } from "./sandboxes.ts";

export type MadeVerdict =
  | { readonly as: "waits" }
  | { readonly as: "failed"; readonly code: ErrorCode; readonly reason: string };

/** Its controller tries again by itself: what it says once may be over. */
const SAID_FOR_MS = 2_000;
const MADE_WITHIN_MS = 10_000;
const MAX_REASON_UNITS = 300;

const failed = (reason: string, code: ErrorCode = "driver.failed"): MadeVerdict => ({
  as: "failed",
  code,
  reason: reason.slice(0, MAX_REASON_UNITS),
});

export function decideMade(sandbox: Sandbox | undefined, waitedMs: number): MadeVerdict {
  if (sandbox === undefined || sandbox.isLeaving)
    return failed("its sandbox was removed while it started");
  if (sandbox.isSuspended) return failed("its sandbox was suspended while it started");
  const { message, reason } = sandbox;
  if (reason === "SandboxExpired") return failed("its sandbox was past its time");
  if (reason === "ReconcilerError") {
    if (isQuotaUsedUp(message)) return failed(message, "capacity.exhausted");
    if (waitedMs >= SAID_FOR_MS) return failed(`its sandbox gets no pod: ${message}`);
  }
  if (waitedMs < MADE_WITHIN_MS) return { as: "waits" };
  const said = reason === "" ? "does its controller run?" : `${reason}: ${message}`;
  return failed(`its sandbox got no pod within ${MADE_WITHIN_MS} ms: ${said}`);
}
