/** The three places: one dispatch, three ways to own workers. */
import {
  DedicatedFleet,
  type PlaceKind,
  SharedPool,
  UserWorker,
} from "../../protocols/actors/place.ts";
import { TIERS, type Tier, type TierTable } from "../../protocols/tiers.ts";
import { type ActorDefinition, actor } from "../../runtime/actor.ts";
import type { ActorOptions } from "../options.ts";
import { slotDispatch } from "./slot-dispatch.ts";

/** The free tier's pool: every worker serves anyone, one job at a time, and keeps no workspace. */
export function sharedPool(options: ActorOptions): ActorDefinition {
  const tier = tierOf(options.tiers, "shared-pool", "free");
  const owner = (_self: unknown, worker: string) => ({ workspace_key: worker });
  return actor(SharedPool, slotDispatch({ tier, shrinks: true, owner }, options));
}

/** A pro user's own worker: none while nothing is to be done, and the workspace outlives it. */
export function userWorker(options: ActorOptions): ActorDefinition {
  const tier = tierOf(options.tiers, "user-worker", "pro");
  const owner = ({ key }: { readonly key: string }) => ({ user: key, workspace_key: `u-${key}` });
  return actor(UserWorker, slotDispatch({ tier, shrinks: false, owner }, options));
}

/** An enterprise tenant's workers for one agent: the minimum always on. */
export function dedicatedFleet(options: ActorOptions): ActorDefinition {
  const tier = tierOf(options.tiers, "dedicated-fleet", "enterprise");
  const owner = ({ key }: { readonly key: string }) => ({ agent: key, workspace_key: `a-${key}` });
  return actor(DedicatedFleet, slotDispatch({ tier, shrinks: true, owner }, options));
}

/** The tier whose limits the kind's workers get; configuration may have given the kind to another tier. */
function tierOf(tiers: TierTable, kind: PlaceKind, usual: Tier): Tier {
  return tiers[usual].place === kind
    ? usual
    : (TIERS.find((t) => tiers[t].place === kind) ?? usual);
}
