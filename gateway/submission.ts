/** What is checked before a job reaches its user actor. Pure. */

import type { SessionView } from "../protocols/actors/session.ts";
import type { CreateJob } from "../protocols/api.ts";
import { BerthError } from "../protocols/errors.ts";
import { MAX_PROMPT_BYTES } from "../protocols/job.ts";
import type { Tier, TierLimits } from "../protocols/tiers.ts";
import type { TenantPrincipal } from "./auth/principal.ts";

const TITLE_CHARS = 80;
const TITLE_SEARCH_CHARS = 2_000;

/** Who submits, with the tier that its tenant has now. */
export interface Caller {
  readonly principal: TenantPrincipal;
  readonly tier: Tier;
}

/** The job's time limit: what was asked for, cut to the tier's; null is none. */
export function decideTimeout(
  asked: number | undefined,
  tierLimitMs: number | null,
): number | null {
  if (asked === undefined) return tierLimitMs;
  return tierLimitMs === null ? asked : Math.min(asked, tierLimitMs);
}

/** Throws `quota.model` when the tier does not allow the model. No model is the agent's default, which all may use. */
export function checkModel(
  model: string | undefined,
  allowed: TierLimits["customModels"],
  tier: Tier,
): void {
  if (model === undefined || allowed === "any") return;
  if (allowed !== "none" && allowed.includes(model)) return;
  const choice = allowed === "none" ? "no model may be named" : `models are ${allowed.join(", ")}`;
  throw new BerthError("quota.model", `in tier ${tier} ${choice}`, { field: "model" });
}

/** What a session that a job starts is called: the prompt's first line that says something; undefined when none does. */
export function titleOf(prompt: string): string | undefined {
  const lines = prompt.slice(0, TITLE_SEARCH_CHARS).split("\n");
  const said = lines.map((line) => line.replaceAll(/[\p{Cc}\p{Cs}\s]+/gu, " ").trim());
  const first = said.find((line) => line !== "" && !line.startsWith("#!"));
  if (first === undefined || first.length <= TITLE_CHARS) return first;
  const cut = first.slice(0, TITLE_CHARS - 1).replace(/[\uD800-\uDBFF]$/, "");
  return `${cut.trimEnd()}…`;
}

/** Throws `request.too_large`; the limit counts bytes, as the broker does. */
export function checkPrompt(prompt: string): void {
  const bytes = Buffer.byteLength(prompt);
  if (bytes <= MAX_PROMPT_BYTES) return;
  throw new BerthError(
    "request.too_large",
    `the prompt has ${bytes} bytes, ${MAX_PROMPT_BYTES} are allowed`,
    { field: "prompt" },
  );
}

/** Throws when a job of `caller` may not go on in `session`. */
export function checkSession(
  session: SessionView,
  caller: Caller,
  job: Pick<CreateJob, "agent">,
  now: number,
): void {
  // Also for an admin: a session is one user's conversation.
  if (session.user !== caller.principal.user) throw new BerthError("session.not_found");
  if (session.agent !== job.agent) {
    throw new BerthError("session.agent_mismatch", `the session belongs to ${session.agent}`, {
      field: "agent",
    });
  }
  if (session.expires_at <= now) throw new BerthError("session.expired");
}
