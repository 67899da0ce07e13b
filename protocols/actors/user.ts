/** The user: admits jobs (hourly limit, queue bound), keeps their order, lets so many run at once. */
import { z } from "zod";
import { jobRecordSchema, jobTicketSchema, metadataSchema, terminalStateSchema } from "../job.ts";
import { ask, protocol, tell } from "../protocol.ts";
import { tierSchema } from "../tiers.ts";

export const limitsViewSchema = z.object({
  tier: tierSchema,
  hourly: z.object({
    limit: z.number(),
    remaining: z.number(),
    /** Milliseconds until the window ends and the count is zero again. */
    reset_ms: z.number(),
  }),
  concurrent: z.object({ limit: z.number().nullable(), running: z.number() }),
  queued: z.object({ limit: z.number(), waiting: z.number() }),
  /** Absent: of a build that did not count requests. Those that gateways have in hand count as used. */
  requests: z
    .object({
      limit: z.number(),
      remaining: z.number(),
      /** Milliseconds until more remain. */
      reset_ms: z.number(),
    })
    .optional(),
});
export type LimitsView = z.infer<typeof limitsViewSchema>;

export const usageViewSchema = z.object({
  jobs: z.record(z.string(), z.number()),
  agent_ms: z.number(),
  input_tokens: z.number(),
  output_tokens: z.number(),
  since: z.number(),
});
export type UsageView = z.infer<typeof usageViewSchema>;

/** What became of a block of permits that its gateway uses no more. */
const endedBlockSchema = z.object({
  /** Null: the gateway had it of its own, while the user's actor did not answer. */
  block: z.number().int().nullable(),
  used: z.number().int().nonnegative(),
  /** How long ago the last one was used. */
  ago_ms: z.number().nonnegative(),
});
export type EndedBlock = z.infer<typeof endedBlockSchema>;
/** Gateways say no more at once. */
export const MAX_ENDED_BLOCKS = 64;

export const User = protocol("user", {
  /** Accepts or refuses a job. The same job id again gets the same answer and counts once. */
  submit: ask(
    {
      job: jobRecordSchema.pick({
        id: true,
        session_id: true,
        agent: true,
        tier: true,
        prompt: true,
        model: true,
        credentials: true,
        timeout_ms: true,
        metadata: true,
      }),
      /** Create the session; otherwise it exists and is this user's (the gateway has checked). */
      new_session: z
        .object({ title: z.string().optional(), metadata: metadataSchema.optional() })
        .optional(),
    },
    { created_at: z.number(), position: z.number(), limits: limitsViewSchema },
  ),
  /** From a gateway: a block of API requests that it may let through, and what became of those that it had. */
  permits: ask(
    { tier: tierSchema, ended: z.array(endedBlockSchema).max(MAX_ENDED_BLOCKS).optional() },
    {
      granted: z.number().int(),
      limit: z.number().int(),
      /** Not given out yet. */
      remaining: z.number().int(),
      /** Names the block. */
      window: z.number(),
      /** How long the block is good; of an empty one, when to ask again. */
      reset_ms: z.number(),
      /** Until some of the permits that are used or given out are free again. Absent: with `reset_ms`. */
      frees_ms: z.number().optional(),
      /** A permit that was used is free again after so long. Absent: it is not known. */
      window_ms: z.number().optional(),
    },
  ),
  cancelJob: ask({ job_id: z.string(), by: z.string() }, { found: z.boolean() }),
  limits: ask({ tier: tierSchema }, { limits: limitsViewSchema }, { readOnly: true }),
  usage: ask({}, { usage: usageViewSchema }, { readOnly: true }),
  /** Jobs of this user that have not ended, oldest first. */
  active: ask(
    {},
    {
      jobs: z.array(z.object({ job_id: z.string(), session_id: z.string(), waiting: z.boolean() })),
    },
    { readOnly: true },
  ),
  /** From the session: the job has ended. */
  finished: tell({
    ticket: jobTicketSchema,
    state: terminalStateSchema,
    agent_ms: z.number(),
    input_tokens: z.number(),
    output_tokens: z.number(),
  }),
  /** From a place whose queue is full: keep the job and offer it again after the pause. */
  deferred: tell({ ticket: jobTicketSchema, after_ms: z.number() }),
  /** From the supervisor, how the tenant stands: while it is suspended no job is taken, and those that there are end. */
  stand: tell({ suspended: z.boolean() }),
  /** Its own reminder: offer what was deferred. */
  offer: tell({}),
});
