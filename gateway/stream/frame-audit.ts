/** Frames as the audit trail sees them: what a route's hooks do for requests (`audit-trail.ts`). */
import type { Act } from "../../protocols/audit.ts";
import type { ErrorCode } from "../../protocols/errors.ts";
import type { ClientFrame } from "../../protocols/frames.ts";
import { PLATFORM_TENANT } from "../../protocols/ids.ts";
import { actorOf, DENIED_CODES, NOBODY } from "../audit-trail.ts";
import type { Principal } from "../auth/principal.ts";
import { requireRoute } from "../auth/scopes.ts";
import { thrownError } from "../problem.ts";
import type { Services } from "../services.ts";

/** The connection that a frame came on. */
export interface FrameOrigin {
  readonly connection: string;
  readonly source: string;
}

const ACTS = { cancel: "job.cancel", input: "job.input" } as const;

/** Does what the frame asks for; an admin's or operator's order on a job is recorded first (T1). */
export async function withAudit(
  services: Services,
  origin: FrameOrigin,
  by: {
    readonly principal: Principal;
    readonly frame: ClientFrame;
    /** Whose job it is; rejects when there is none. */
    readonly ownerOf: (principal: Principal, jobId: string) => Promise<string>;
  },
  work: () => Promise<void>,
): Promise<void> {
  const { frame, ownerOf, principal } = by;
  if ((frame.type !== "cancel" && frame.type !== "input") || principal.scope === "user") {
    return work();
  }
  requireRoute(principal, "jobs", "write");
  const act: Act = {
    ...aboutFrame(origin, principal, frame.job_id),
    tenant: principal.tenant ?? (await ownerOf(principal, frame.job_id)),
    act: ACTS[frame.type],
    outcome: "allowed",
  };
  await services.audit.record(act);
  try {
    await work();
  } catch (thrown) {
    await services.audit
      .record({ ...act, code: thrownError(thrown).code })
      .catch((err: unknown) => services.logger.error({ err }, "a failed act was not recorded"));
    throw thrown;
  }
}

/** A frame or a credential that was refused (T3). */
export function noteStreamDenial(
  { denials }: Services,
  origin: FrameOrigin,
  principal: Principal | undefined,
  of: { readonly code: ErrorCode; readonly frame: string },
): void {
  if (!DENIED_CODES.has(of.code)) return;
  denials.note({
    ...aboutFrame(origin, principal, of.frame),
    tenant: principal?.tenant ?? PLATFORM_TENANT,
    act: principal ? "api.denied" : "auth.refused",
    outcome: "denied",
    code: of.code,
  });
}

function aboutFrame(
  { connection, source }: FrameOrigin,
  principal: Principal | undefined,
  what: string,
): Pick<Act, "actor" | "target" | "request" | "source"> {
  const actor = principal ? actorOf(principal) : NOBODY;
  return { actor, target: `WS ${what}`, request: connection, source };
}
