/** What becomes of a tenant's own account of workers. Pure. */
import type { TenantRecord } from "../../protocols/records.ts";

export interface AccountFacts {
  readonly tenant: Pick<TenantRecord, "tier" | "suspended"> | undefined;
  readonly exists: boolean;
  /** Workers on record that are in it. */
  readonly workers: number;
}

export type AccountStep = "keep" | "suspend" | "remove" | "none";

/** A tenant that left the tier keeps its account until the last worker of it is gone; one that was removed does not. */
export function decideAccount({ tenant, exists, workers }: AccountFacts): AccountStep {
  if (tenant?.tier === "enterprise") return tenant.suspended ? "suspend" : "keep";
  if (!exists) return "none";
  if (tenant === undefined || workers === 0) return "remove";
  return tenant.suspended ? "suspend" : "keep";
}
