/** Queue depth by tier, from the places themselves. */
import { PLACES, type PlaceView, POOL_KEY, placeOf } from "../protocols/actors/place.ts";
import { formatTime } from "../protocols/api.ts";
import type { ApiQueue } from "../protocols/api-operators.ts";
import { workerRecordSchema } from "../protocols/executor.ts";
import { type ActorRef, PLATFORM_TENANT, refName } from "../protocols/ids.ts";
import { TIERS } from "../protocols/tiers.ts";
import { readAll } from "./listing.ts";
import type { Services } from "./services.ts";

/** Places that one look asks at most. */
const MAX_PLACES = 256;
const AT_ONCE = 16;

/** The shared pool and every place that has or wants a worker: no other can have a job waiting. */
async function placesOf({ tiers, transport }: Services): Promise<ActorRef[]> {
  const workers = await readAll(transport.buckets, "workers", workerRecordSchema);
  const refs = [
    { kind: "shared-pool", tenant: PLATFORM_TENANT, key: POOL_KEY },
    ...workers.map(({ value: { spec } }) =>
      placeOf(tiers, {
        tier: spec.tier,
        tenant: spec.tenant,
        user: spec.user ?? POOL_KEY,
        agent: spec.agent ?? POOL_KEY,
      }),
    ),
  ];
  return [...new Map(refs.map((ref) => [refName(ref), ref])).values()];
}

export async function readQueues(
  services: Services,
): Promise<{ data: ApiQueue[]; unanswered: number }> {
  const places = await placesOf(services);
  const asked = places.slice(0, MAX_PLACES);
  const views: PlaceView[] = [];
  for (let at = 0; at < asked.length; at += AT_ONCE) {
    const some = asked.slice(at, at + AT_ONCE).map((ref) => viewOf(services, ref));
    for (const view of await Promise.all(some)) if (view) views.push(view);
  }
  const data = TIERS.map((tier) => sumQueue(tier, views));
  return { data, unanswered: places.length - views.length };
}

async function viewOf(
  { client, logger, tuning }: Services,
  ref: ActorRef,
): Promise<PlaceView | undefined> {
  const protocol = PLACES[ref.kind as keyof typeof PLACES];
  try {
    const options = { timeoutMs: tuning.askTimeoutMs };
    return (await client.actor(protocol, ref.tenant, ref.key).view({}, options)).place;
  } catch (error) {
    logger.warn({ error, place: refName(ref) }, "a place did not tell of its queue");
    return undefined;
  }
}

/** One tier's places as one queue. Pure. */
export function sumQueue(tier: ApiQueue["tier"], views: readonly PlaceView[]): ApiQueue {
  const ofTier = views.filter((view) => view.tier === tier);
  const workers: Record<string, number> = {};
  for (const { phase } of ofTier.flatMap((view) => view.workers)) {
    workers[phase] = (workers[phase] ?? 0) + 1;
  }
  const oldest = ofTier.flatMap(({ oldest_queued_at: at }) => (at === null ? [] : [at]));
  return {
    tier,
    queued: ofTier.reduce((sum, view) => sum + view.queued, 0),
    oldest_queued_at: oldest.length === 0 ? null : formatTime(Math.min(...oldest)),
    workers,
    places: ofTier.length,
  };
}
