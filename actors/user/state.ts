/** The user actor's record and what is read from it. */
import { z } from "zod";
import type { LimitsView, UsageView } from "../../protocols/actors/user.ts";
import type { ActorRef } from "../../protocols/ids.ts";
import type { JobTicket } from "../../protocols/job.ts";
import { type Tier, type TierTable, tierSchema } from "../../protocols/tiers.ts";
import type { DeepReadonly } from "../../runtime/actor.ts";
import { quotaAt } from "./decide-admission.ts";
import { permitsAt } from "./decide-permits.ts";

/** A job that has not ended; short, because up to a thousand stand in the record. */
const userJobSchema = z.object({
  job: z.string(),
  session: z.string(),
  agent: z.string(),
  tier: tierSchema,
  at: z.number(),
  keys: z.boolean().optional(),
  traceparent: z.string().optional(),
});
export type UserJob = z.infer<typeof userJobSchema>;

export const userStateSchema = z.object({
  window: z
    .object({ opened_at: z.number().nullable(), accepted: z.number() })
    .default({ opened_at: null, accepted: 0 }),
  /** API requests that were given out to gateways; see `decide-permits.ts`. */
  requests: z
    .object({
      next: z.number(),
      open: z.array(z.object({ block: z.number(), count: z.number(), until: z.number() })),
      counted: z.array(z.tuple([z.number(), z.number()])),
    })
    // Made anew each time, as below.
    .default(() => ({ next: 1, open: [], counted: [] })),
  /** Its tenant is. */
  suspended: z.boolean().default(false),
  /** In order of arrival. */
  waiting: z.array(userJobSchema).default([]),
  /** Given to their places, whether they run there yet or not. */
  running: z.array(userJobSchema).default([]),
  /** Cancelled while they waited; their session has not confirmed it yet. */
  ending: z.array(userJobSchema).default([]),
  /** The newest accepted job ids with their times, so that a client's second try counts once. */
  recent: z.array(z.tuple([z.string(), z.number()])).default([]),
  /** Until then nothing is offered: a place was full. */
  held_until: z.number().default(0),
  /** See `show-queue.ts`. */
  shown: z.number().default(0),
  usage: z
    .object({
      jobs: z.record(z.string(), z.number()),
      agent_ms: z.number(),
      input_tokens: z.number(),
      output_tokens: z.number(),
      since: z.number().nullable(),
    })
    // Made anew each time: zod copies a default only one level deep, and actors would share `jobs`.
    .default(() => ({ jobs: {}, agent_ms: 0, input_tokens: 0, output_tokens: 0, since: null })),
});
export type UserState = z.infer<typeof userStateSchema>;

export function ticketOf(user: ActorRef, job: UserJob): JobTicket {
  return {
    job_id: job.job,
    session_id: job.session,
    user: user.key,
    tenant: user.tenant,
    agent: job.agent,
    tier: job.tier,
    queued_at: job.at,
    attempt: 1,
    ...(job.keys === undefined ? {} : { keys: job.keys }),
    ...(job.traceparent === undefined ? {} : { traceparent: job.traceparent }),
  };
}

/** When this job id was accepted, as far back as the record remembers. */
export function acceptedAt(state: UserState, jobId: string): number | undefined {
  const open = [...state.waiting, ...state.running, ...state.ending].find(
    (job) => job.job === jobId,
  );
  return open?.at ?? state.recent.find(([id]) => id === jobId)?.[1];
}

export function limitsView(
  state: DeepReadonly<UserState>,
  tier: Tier,
  at: {
    readonly now: number;
    readonly tiers: TierTable;
    readonly windowMs: number;
    readonly requestWindowMs: number;
  },
): LimitsView {
  const limits = at.tiers[tier];
  const quota = quotaAt(state.window, at.now, { ...limits, windowMs: at.windowMs });
  const requests = permitsAt(state.requests, at.now, {
    limit: limits.requestsPerMinute,
    windowMs: at.requestWindowMs,
  });
  return {
    tier,
    hourly: { limit: limits.jobsPerHour, remaining: quota.remaining, reset_ms: quota.resetMs },
    concurrent: { limit: limits.concurrentJobs, running: state.running.length },
    queued: { limit: limits.queuedJobs, waiting: state.waiting.length },
    requests: {
      limit: limits.requestsPerMinute,
      remaining: requests.remaining,
      reset_ms: Math.ceil(requests.freesMs),
    },
  };
}

export function usageView(state: DeepReadonly<UserState>, now: number): UsageView {
  return { ...state.usage, since: state.usage.since ?? now };
}
