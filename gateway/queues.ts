/** Queue depth by tier: jobs that wait with their users or in their places, and the workers that places hold. */
import { PLACES, type PlaceView, POOL_KEY, placeOf } from "../protocols/actors/place.ts";
import { formatTime } from "../protocols/api.ts";
import type { ApiQueue } from "../protocols/api-operators.ts";
import { workerRecordSchema } from "../protocols/executor.ts";
import { type ActorRef, PLATFORM_TENANT, refName } from "../protocols/ids.ts";
import { type QueueRecord, queueRecordSchema } from "../protocols/records.ts";
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
  const queues = await readAll(services.transport.buckets, "queues", queueRecordSchema);
  const waiting = queues.map(({ value }) => value);
  const data = TIERS.map((tier) => sumQueue(tier, views, waiting));
  return { data, unanswered: places.length - views.length };
}

/** Undefined when the place does not answer. */
export async function viewOf(
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

/** One tier's queues as one, with the workers of its places. Pure. */
export function sumQueue(
  tier: ApiQueue["tier"],
  views: readonly PlaceView[],
  queues: readonly QueueRecord[],
): ApiQueue {
  const ofTier = views.filter((view) => view.tier === tier);
  const waiting = queues.filter((queue) => queue.tier === tier);
  const workers: Record<string, number> = {};
  for (const { phase } of ofTier.flatMap((view) => view.workers)) {
    workers[phase] = (workers[phase] ?? 0) + 1;
  }
  const oldest = Math.min(...waiting.map((queue) => queue.oldest_at));
  return {
    tier,
    queued: waiting.reduce((sum, queue) => sum + queue.waiting, 0),
    oldest_queued_at: waiting.length === 0 ? null : formatTime(oldest),
    workers,
    places: ofTier.length,
  };
}
