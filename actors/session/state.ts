/** The session's record. Each journal page repeats it, so it stays small: jobs that ended leave a mark only. */
import { z } from "zod";
import type { SessionView } from "../../protocols/actors/session.ts";
import { refSchema } from "../../protocols/envelope.ts";
import { BerthError } from "../../protocols/errors.ts";
import type { ActorRef } from "../../protocols/ids.ts";
import { jobStateSchema, jobTicketSchema, metadataSchema } from "../../protocols/job.ts";
import { type TierTable, tierSchema } from "../../protocols/tiers.ts";
import type { DeepReadonly } from "../../runtime/actor.ts";

const birthSchema = z.object({
  user: z.string(),
  agent: z.string(),
  tier: tierSchema,
  title: z.string().nullable(),
  metadata: metadataSchema,
  created_at: z.number(),
});
export type Birth = z.infer<typeof birthSchema>;

const activeJobSchema = z.object({
  ticket: jobTicketSchema,
  preview: z.string(),
  state: jobStateSchema,
  worker: z.string().nullable(),
  /** The newest frame journaled of this attempt. */
  frame: z.number(),
  /** When this attempt's agent started. */
  started_at: z.number().nullable(),
  cancel_by: z.string().nullable(),
  /** The tool calls whose failures count; an answer to an older one is stale. */
  run_effect: z.string().nullable(),
  cancel_effect: z.string().nullable(),
  /** How often its watchdog has fired in this attempt. */
  overdue: z.number().default(0),
});
export type ActiveJob = z.infer<typeof activeJobSchema>;

const endedSchema = z.object({
  job_id: z.string(),
  attempt: z.number(),
  worker: z.string().nullable(),
  frame: z.number(),
});

export const sessionStateSchema = z.object({
  birth: birthSchema.nullable().default(null),
  deleted: z.boolean().default(false),
  last_active_at: z.number().default(0),
  /** The agent's own session id, with which the next job resumes its conversation. */
  agent_session: z.string().nullable().default(null),
  jobs: z.record(z.string(), activeJobSchema).default({}),
  /** The newest ended attempts, whose last frame may come again. */
  ended: z.array(endedSchema).default([]),
  /** Cancels that overtook their job on the faster lane. */
  early_cancels: z.array(z.object({ job_id: z.string(), by: z.string() })).default([]),
  /** Assignments that overtook their job: outboxes keep order per target only. */
  early_assigns: z
    .array(
      z.object({
        ticket: jobTicketSchema,
        worker: z.string(),
        place: refSchema,
        /** Why the worker is lost again already, if it is, and how it ended. */
        lost: z.string().nullable(),
        lost_code: z.string().optional(),
      }),
    )
    .default([]),
  /** Time of the newest event: no later event is dated before it. */
  last_event_at: z.number().default(0),
  /** Seq of the newest event, for readers that only read. */
  last_seq: z.number().default(0),
});
export type SessionState = z.infer<typeof sessionStateSchema>;

/** Marks kept of ended attempts and of early cancels: one session runs one job at a time, so few are in doubt. */
export const MAX_MARKS = 50;

/** When the session can no longer be resumed; a session with a job in it does not expire. */
export function expiresAt(
  state: DeepReadonly<SessionState>,
  birth: Birth,
  now: number,
  tiers: TierTable,
): number {
  const busy = Object.keys(state.jobs).length > 0;
  return (busy ? now : state.last_active_at) + tiers[birth.tier].sessionResumeMs;
}

/** What people see of it. Throws `session.not_found` or `session.deleted`. */
export function sessionView(
  ctx: {
    readonly self: ActorRef;
    readonly state: DeepReadonly<SessionState>;
    readonly now: number;
  },
  tiers: TierTable,
): SessionView {
  const { birth } = ctx.state;
  if (!birth) throw new BerthError("session.not_found");
  if (ctx.state.deleted) throw new BerthError("session.deleted");
  return {
    id: ctx.self.key,
    tenant: ctx.self.tenant,
    user: birth.user,
    agent: birth.agent,
    tier: birth.tier,
    title: birth.title,
    metadata: birth.metadata,
    created_at: birth.created_at,
    last_active_at: ctx.state.last_active_at,
    expires_at: expiresAt(ctx.state, birth, ctx.now, tiers),
    last_seq: ctx.state.last_seq,
    active_jobs: Object.keys(ctx.state.jobs),
  };
}
