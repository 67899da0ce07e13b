/**
 * Places: actors that hold workers' slots and hand them to waiting jobs. The shared pool (free), the user
 * worker (pro) and the dedicated fleet (enterprise) speak one protocol, so that a job does not care.
 */
import { z } from "zod";
import type { ActorRef } from "../ids.ts";
import { PLATFORM_TENANT } from "../ids.ts";
import { jobTicketSchema } from "../job.ts";
import { ask, protocol, tell } from "../protocol.ts";
import type { Tier, TierTable } from "../tiers.ts";
import { tierSchema } from "../tiers.ts";

export const placeWorkerSchema = z.object({
  worker: z.string(),
  phase: z.enum(["cold", "starting", "idle", "busy", "draining"]),
  jobs: z.array(z.string()),
  idle_since: z.number().nullable(),
});

export const placeViewSchema = z.object({
  tier: tierSchema,
  queued: z.number(),
  /** Queue time of the oldest waiting job, or null. */
  oldest_queued_at: z.number().nullable(),
  workers: z.array(placeWorkerSchema),
});
export type PlaceView = z.infer<typeof placeViewSchema>;

const messages = {
  /** From the user actor: run this job when a slot is free. */
  enqueue: tell({ ticket: jobTicketSchema }),
  /** From the session: the job ended before it was assigned. */
  withdraw: tell({ job_id: z.string(), attempt: z.number() }),
  /** From the session: the attempt is over and the slot is free. */
  released: tell({ job_id: z.string(), attempt: z.number(), worker: z.string() }),
  /**
   * From the session: the worker does not report on this attempt. It is ended as a whole, for only that proves
   * that nothing of the attempt is left; `Session.lost` is the answer.
   */
  condemn: tell(
    { worker: z.string(), ticket: jobTicketSchema, reason: z.string() },
    { lane: "control" },
  ),
  /** From the supervisor. */
  workerReady: tell({ worker: z.string() }, { lane: "control" }),
  workerLost: tell(
    { worker: z.string(), reason: z.string(), code: z.string().optional() },
    { lane: "control" },
  ),
  /** From the supervisor: may this idle worker go? Answered by `Supervisor.idleAnswer`. */
  idleCheck: tell({ worker: z.string() }),
  /** From the supervisor: keep no minimum of workers and let idle ones go, or do as usual again. */
  rest: tell({ resting: z.boolean() }),
  /** From a gateway, now and then: a client of the user is attached. */
  attached: tell(
    {
      user: z.string(),
      /** How long this counts. Absent, from gateways of earlier builds: the place's own time. */
      holds_ms: z.number().positive().optional(),
    },
    { lane: "background" },
  ),
  /** The place's own reminder: scale, retry, age. */
  tick: tell({}, { lane: "background" }),
  view: ask({}, { place: placeViewSchema }, { readOnly: true }),
  /** Brings the minimum of workers up; idempotent. Sent when a deployment or a tenant starts. */
  warm: tell({ agent: z.string().optional() }),
} as const;

export const SharedPool = protocol("shared-pool", messages, { platform: true });
export const UserWorker = protocol("user-worker", messages);
export const DedicatedFleet = protocol("dedicated-fleet", messages);

export const PLACES = {
  "shared-pool": SharedPool,
  "user-worker": UserWorker,
  "dedicated-fleet": DedicatedFleet,
} as const;
export type PlaceKind = keyof typeof PLACES;

export const POOL_KEY = "main";

/** The place that runs a tier's jobs for this user and agent. */
export function placeOf(
  tiers: TierTable,
  job: {
    readonly tier: Tier;
    readonly tenant: string;
    readonly user: string;
    readonly agent: string;
  },
): ActorRef {
  const kind = tiers[job.tier].place;
  switch (kind) {
    case "shared-pool":
      return { kind, tenant: PLATFORM_TENANT, key: POOL_KEY };
    case "user-worker":
      return { kind, tenant: job.tenant, key: job.user };
    case "dedicated-fleet":
      return { kind, tenant: job.tenant, key: job.agent };
  }
}
