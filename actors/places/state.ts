/** The record of a place, the same for the three kinds. */
import { z } from "zod";
import type { PlaceView } from "../../protocols/actors/place.ts";
import type { WorkerSpec } from "../../protocols/executor.ts";
import type { ActorRef } from "../../protocols/ids.ts";
import { jobTicketSchema } from "../../protocols/job.ts";
import type { Tier, TierLimits } from "../../protocols/tiers.ts";
import type { Context, DeepReadonly } from "../../runtime/actor.ts";
import type { ActorOptions } from "../options.ts";
import type { PlaceMessages } from "../place-peer.ts";

const placedJobSchema = z.object({
  job_id: z.string(),
  attempt: z.number(),
  session_id: z.string(),
  tenant: z.string(),
  user: z.string().default(""),
  keys: z.boolean().default(false),
});

const slotWorkerSchema = z.object({
  phase: z.enum(["starting", "idle", "busy", "draining"]),
  jobs: z.array(placedJobSchema),
  ready_at: z.number().nullable().default(null),
  idle_since: z.number().nullable(),
  /** When the supervisor was last asked to start or stop it. */
  asked_at: z.number(),
  /** The supervisor has not been told of its load yet. */
  unreported: z.boolean(),
});
export type SlotWorker = z.infer<typeof slotWorkerSchema>;

export const placeStateSchema = z.object({
  /** In order of queue time. */
  queue: z.array(jobTicketSchema).default([]),
  /** Whose turn it is: see `fair-order.ts`. */
  rotation: z.array(z.string()).default([]),
  workers: z.record(z.string(), slotWorkerSchema).default({}),
  attached_at: z.number().nullable().default(null),
  /** How long that counts; null is `attachedForMs`. */
  attached_for_ms: z.number().nullable().default(null),
  /** See `decide-replacement.ts`. */
  failures: z.number().default(0),
  crashes: z.number().default(0),
  crashed_at: z.number().nullable().default(null),
  held_until: z.number().default(0),
  tick_at: z.number().nullable().default(null),
  /** Its tenant is suspended, or has other places now. */
  resting: z.boolean().default(false),
  /** See `show-queue.ts`. */
  shown: z.number().default(0),
});
export type PlaceState = z.infer<typeof placeStateSchema>;

/** What sets the three kinds of place apart. */
export interface PlacePolicy {
  readonly tier: Tier;
  /** Lets idle workers go by the scaling rule; else only the idle time-out does. */
  readonly shrinks: boolean;
  /** Whom the worker serves, and what names its kept workspace. */
  owner(self: ActorRef, worker: string): Pick<WorkerSpec, "user" | "agent" | "workspace_key">;
}

export interface PlaceScene {
  readonly ctx: Context<PlaceState, PlaceMessages>;
  readonly policy: PlacePolicy;
  readonly limits: TierLimits;
  readonly options: ActorOptions;
}

/** A place that rests keeps none. */
export function minWorkers({ ctx, limits }: PlaceScene): number {
  return ctx.state.resting ? 0 : limits.minWorkers;
}

export function placeView(state: DeepReadonly<PlaceState>, tier: Tier): PlaceView {
  return {
    tier,
    queued: state.queue.length,
    oldest_queued_at: state.queue[0]?.queued_at ?? null,
    workers: Object.entries(state.workers).map(([worker, { phase, jobs, idle_since }]) => ({
      worker,
      phase,
      jobs: jobs.map((job) => job.job_id),
      idle_since,
    })),
  };
}
