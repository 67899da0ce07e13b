/**
 * What becomes of a tenant's jobs and workers when it is suspended, is resumed, or changes its tier.
 *
 * 1. Places of the tenant rest while it is suspended, and for good when its tier has other places: they finish what they
 *    have, keep no minimum, and let each worker go as soon as it is idle.
 * 2. Every user of a suspended tenant is told, page by page: it cancels its jobs and takes no more. Once more a moment
 *    later, for a gateway that had not heard yet may have made another user's first job.
 * 3. What is told is how the tenant stands then, so that of a suspension and its end the last one counts.
 */
import { usersOfTenant } from "../../protocols/actors/supervisor.ts";
import { User } from "../../protocols/actors/user.ts";
import type { ActorRef } from "../../protocols/ids.ts";
import { refName } from "../../protocols/ids.ts";
import type { TenantRecord } from "../../protocols/records.ts";
import { placePeer } from "../place-peer.ts";
import type { Yard } from "./state.ts";

/** Gateways hear of a suspension within a second; a request under way takes a few more. */
const AGAIN_MS = 5_000;
/** From a walk that broke off to the next, which begins anew. */
const RETRY_MS = 30_000;

export function applyStanding(yard: Yard, before: TenantRecord | null): void {
  const { tenant } = yard.ctx.state;
  if (!tenant) return;
  const isMoved = before !== null && before.tier !== tenant.tier;
  const isTurned = (before?.suspended ?? false) !== tenant.suspended;
  if (isMoved || isTurned) restPlaces(yard);
  if (!isTurned && !tenant.suspended) return;
  tellUsers(yard, "");
  if (tenant.suspended)
    yard.ctx.remind("tellUsers", {}, { afterMs: AGAIN_MS }); // 2
  else yard.ctx.forget("tellUsers");
}

/** A place that wants a worker although it should rest is told so (1). */
export function restPlace(yard: Yard, place: ActorRef): void {
  const { rested } = yard.ctx.state;
  if (!shouldRest(yard, place) || rested.some((other) => isSame(other, place))) return;
  rested.push({ ...place });
  placePeer(yard.ctx, place).rest({ resting: true });
}

export function tellUsers({ ctx }: Yard, after: string): void {
  ctx.execute(usersOfTenant, { tenant: ctx.self.tenant, after }, { reply: "usersFound" });
}

export function usersFound(
  yard: Yard,
  found: { readonly users: readonly string[]; readonly next: string | null } | undefined,
): void {
  const { ctx } = yard;
  const suspended = ctx.state.tenant?.suspended ?? false; // 3
  if (!found) {
    ctx.remind("tellUsers", {}, { afterMs: RETRY_MS });
    return;
  }
  for (const user of found.users) ctx.actor(User, user).stand({ suspended });
  if (found.next !== null) tellUsers(yard, found.next);
}

function restPlaces(yard: Yard): void {
  const { ctx } = yard;
  const all = [...Object.values(ctx.state.workers).map(({ place }) => place), ...ctx.state.rested];
  const places = [...new Map(all.map((place) => [refName(place), place])).values()];
  for (const place of places) placePeer(ctx, place).rest({ resting: shouldRest(yard, place) });
  ctx.state.rested = places.filter((place) => shouldRest(yard, place));
}

/** The platform's own supervisor has no tenant to suspend. */
function shouldRest({ ctx, options }: Yard, place: ActorRef): boolean {
  const { tenant } = ctx.state;
  return tenant !== null && (tenant.suspended || options.tiers[tenant.tier].place !== place.kind);
}

function isSame(a: ActorRef, b: ActorRef): boolean {
  return refName(a) === refName(b);
}
