/** What becomes of an account that the broker has and no record names. Pure. */
import type { SignedClaims } from "./jwt.ts";
import { REMOVED_TAG, tenantAccount } from "./worker-account.ts";

export type LeftoverStep = "retract" | "forget" | "none";

const TENANT_PREFIX = tenantAccount("");

/**
 * `countsFor`: after so many seconds no credential of it counts. Only tenants' accounts are removed: the shared one, those
 * of the platform and whatever else somebody keeps there stay.
 */
export function decideLeftover(
  { iat, name, nats }: Pick<SignedClaims, "iat" | "name" | "nats">,
  { countsFor, now }: { readonly countsFor: number; readonly now: number },
): LeftoverStep {
  if (!name.startsWith(TENANT_PREFIX)) return "none";
  const tags = nats["tags"];
  if (!Array.isArray(tags) || !tags.includes(REMOVED_TAG)) return "retract";
  return iat + countsFor < now ? "forget" : "none";
}
