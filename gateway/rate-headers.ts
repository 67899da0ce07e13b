/** Rate-limit headers by draft-ietf-httpapi-ratelimit-headers-11: structured fields, one named policy. */
import type { LimitsView } from "../protocols/actors/user.ts";
import type { PermitStanding } from "./limits/permit-purse.ts";

const HOUR_S = 3_600;
const MINUTE_S = 60;

/** What remains of the hourly limit, and the whole seconds until it is full again (rounded up). */
export function rateHeaders(limits: LimitsView): Record<"ratelimit-policy" | "ratelimit", string> {
  const { limit, remaining, reset_ms } = limits.hourly;
  const left = Math.max(0, Math.floor(remaining));
  return {
    "ratelimit-policy": `"hourly";q=${limit};w=${HOUR_S}`,
    ratelimit: `"hourly";r=${left};t=${seconds(reset_ms)}`,
  };
}

/** Of the limit on requests, on answers of routes that have no limit of their own. */
export function requestHeaders(
  standing: PermitStanding,
): Record<"ratelimit-policy" | "ratelimit", string> {
  const { limit, remaining, resetMs } = standing;
  return {
    "ratelimit-policy": `"requests";q=${limit};w=${MINUTE_S}`,
    ratelimit: `"requests";r=${remaining};t=${seconds(resetMs)}`,
  };
}

/** `Retry-After` counts whole seconds; a client that comes too early is refused again, so round up. */
export function retryAfterHeader(retryAfterMs: number): string {
  return String(Math.max(1, seconds(retryAfterMs)));
}

function seconds(ms: number): number {
  return Math.max(0, Math.ceil(ms / 1_000));
}
