/** Whether a workspace that no worker of its host uses is past its life, by its tier. */
import { PLATFORM_TENANT } from "../../protocols/ids.ts";
import type { TenantRecord } from "../../protocols/records.ts";
import { TIERS, type TierTable } from "../../protocols/tiers.ts";

const DAY_MS = 24 * 60 * 60 * 1_000;
/** Of a tenant that nobody knows: long enough for a person to notice, and to bring its record back. */
const UNKNOWN_KEPT_MS = 7 * DAY_MS;

/** How long a workspace of the tenant outlives its last use; null is for good. */
export function workspaceKeptMs(
  tenant: string,
  record: Pick<TenantRecord, "tier"> | undefined,
  tiers: TierTable,
): number | null {
  if (record) return tiers[record.tier].workspaceKeptMs;
  const pooled = TIERS.find((tier) => tiers[tier].place === "shared-pool");
  if (tenant === PLATFORM_TENANT && pooled) return tiers[pooled].workspaceKeptMs;
  return UNKNOWN_KEPT_MS;
}

/** True only when the tier's time has passed for certain; the tenant's supervisor may still want it. */
export function isPastLife(usedAt: number, keptMs: number | null, now: number): boolean {
  return keptMs !== null && now >= usedAt + keptMs;
}
