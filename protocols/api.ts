/**
 * The HTTP API as schemas: what the gateway validates, what OpenAPI is made of and what the client
 * library is typed by. Requests refuse fields they do not know; readers of responses ignore them.
 * Times are RFC 3339, names are snake_case. WebSocket frames are in `frames.ts`, what
 * operators use in `api-operators.ts`.
 */
import { z } from "zod";
import { MAX_JOB_CREDENTIALS, providerSchema } from "./credentials.ts";
import { ERROR_TABLE, type ErrorCode } from "./errors.ts";
import { eventSchema, usageSchema } from "./events.ts";
import { START_STEPS } from "./executor.ts";
import { idSchema, jobIdSchema, sessionIdSchema, tenantIdSchema } from "./ids.ts";
import { jobStateSchema, metadataSchema } from "./job.ts";
import { wireErrorSchema } from "./protocol.ts";
import { scopeSchema } from "./records.ts";
import { tierSchema } from "./tiers.ts";

export const timeSchema = z.iso.datetime({ offset: true });

/** RFC 3339 of milliseconds since the epoch. */
export function formatTime(ms: number): string {
  return new Date(ms).toISOString();
}

/** A page of a list, by cursor. */
export const pageOf = <T extends z.ZodType>(item: T) =>
  z.object({
    data: z.array(item),
    /** What to pass as `after` for the next page; null on the last one. A filtered page may be short and yet not the last. */
    next: z.string().nullable(),
  });

export const MAX_PAGE = 200;
export const DEFAULT_PAGE = 50;
const limit = z.coerce.number().int().min(1).max(MAX_PAGE).default(DEFAULT_PAGE);

/** Newest first. `after` is the `next` of the page before. */
export const pageQuerySchema = z.strictObject({ limit, after: z.string().max(200).optional() });

// Problems (RFC 9457)

export const problemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.number().int(),
    detail: z.string(),
    /** The id of the request, also in the `X-Request-Id` header and in our logs. */
    instance: z.string(),
    code: z.enum(Object.keys(ERROR_TABLE) as [ErrorCode, ...ErrorCode[]]),
    retryable: z.boolean(),
    retry_after_ms: z.number().optional(),
    errors: z
      .array(z.object({ pointer: z.string(), code: z.string(), message: z.string() }))
      .optional(),
  })
  .meta({ id: "Problem" });
export type Problem = z.infer<typeof problemSchema>;

// Who calls

export const identitySchema = z
  .object({
    tenant: z.string().nullable(),
    user: z.string(),
    scope: scopeSchema,
    tier: tierSchema.nullable(),
  })
  .meta({ id: "Identity" });
export type Identity = z.infer<typeof identitySchema>;

// Agents

export const agentSchema = z.object({ id: z.string() }).meta({ id: "Agent" });
export const agentPageSchema = pageOf(agentSchema).meta({ id: "AgentPage" });

// Sessions

export const createSessionSchema = z
  .strictObject({
    agent: idSchema,
    title: z.string().min(1).max(200).optional(),
    metadata: metadataSchema.optional(),
  })
  .meta({ id: "CreateSession" });
export type CreateSession = z.infer<typeof createSessionSchema>;

export const sessionSummarySchema = z
  .object({
    id: sessionIdSchema,
    tenant: z.string(),
    user: z.string(),
    agent: z.string(),
    tier: tierSchema,
    title: z.string().nullable(),
    metadata: metadataSchema,
    created_at: timeSchema,
  })
  .meta({ id: "SessionSummary" });
export type SessionSummary = z.infer<typeof sessionSummarySchema>;

export const sessionSchema = sessionSummarySchema
  .extend({
    last_active_at: timeSchema,
    expires_at: timeSchema,
    /** The seq of its newest event: where a reader of new events alone starts. */
    last_seq: z.number().int(),
    active_jobs: z.array(z.string()),
  })
  .meta({ id: "Session" });
export type ApiSession = z.infer<typeof sessionSchema>;

export const sessionPageSchema = pageOf(sessionSummarySchema).meta({ id: "SessionPage" });
export const sessionParamsSchema = z.strictObject({ id: sessionIdSchema });

/** An operator may name the tenant that is read, else it is any; others may name their own only. */
export const tenantQuery = { tenant: tenantIdSchema.optional() };
export const scopedQuerySchema = z.strictObject(tenantQuery);
export const sessionListQuerySchema = pageQuerySchema.extend(tenantQuery);

// Jobs

export const createJobSchema = z
  .strictObject({
    agent: idSchema,
    /** Its limit is in bytes (`MAX_PROMPT_BYTES`) and answered with `request.too_large`. */
    prompt: z.string().min(1),
    /** Absent: a session is made for this job. */
    session_id: sessionIdSchema.optional(),
    model: z.string().min(1).max(128).optional(),
    /** Providers whose stored keys the agent is given beside those of its own: what a script needs. */
    credentials: z.array(providerSchema).max(MAX_JOB_CREDENTIALS).optional(),
    /** Cut to the tier's limit. */
    timeout_ms: z.number().int().positive().optional(),
    metadata: metadataSchema.optional(),
  })
  .meta({ id: "CreateJob" });
export type CreateJob = z.infer<typeof createJobSchema>;

export const jobSummarySchema = z
  .object({
    id: jobIdSchema,
    session_id: sessionIdSchema,
    tenant: z.string(),
    user: z.string(),
    agent: z.string(),
    tier: tierSchema,
    state: jobStateSchema,
    prompt_preview: z.string(),
    model: z.string().nullable(),
    timeout_ms: z.number().nullable(),
    metadata: metadataSchema,
    attempt: z.number().int(),
    /** Where it runs; null unless it is starting or running. */
    worker: z.string().nullable(),
    created_at: timeSchema,
    started_at: timeSchema.nullable(),
    finished_at: timeSchema.nullable(),
    exit_code: z.number().nullable(),
    error: wireErrorSchema.nullable(),
    usage: usageSchema.nullable(),
  })
  .meta({ id: "JobSummary" });
export type JobSummary = z.infer<typeof jobSummarySchema>;

export const jobSchema = jobSummarySchema.extend({ prompt: z.string() }).meta({ id: "Job" });
export type ApiJob = z.infer<typeof jobSchema>;

export const acceptedJobSchema = z
  .object({
    id: jobIdSchema,
    session_id: sessionIdSchema,
    state: jobStateSchema,
    agent: z.string(),
    tier: tierSchema,
    created_at: timeSchema,
    /** After the tier's limit was applied; null is none. */
    timeout_ms: z.number().nullable(),
    /** Jobs of this user in front of it. */
    position: z.number().int(),
  })
  .meta({ id: "AcceptedJob" });
export type AcceptedJob = z.infer<typeof acceptedJobSchema>;

export const jobPageSchema = pageOf(jobSummarySchema).meta({ id: "JobPage" });
export const jobParamsSchema = z.strictObject({ id: jobIdSchema });
export const jobListQuerySchema = pageQuerySchema.extend({
  ...tenantQuery,
  state: jobStateSchema.optional(),
  session_id: sessionIdSchema.optional(),
});

/** The state when the request was taken: `cancelled` follows as an event once the process tree is gone. */
export const cancelledJobSchema = z
  .object({ id: jobIdSchema, session_id: sessionIdSchema, state: jobStateSchema })
  .meta({ id: "CancelledJob" });

/**
 * What a job that does not run yet waits for. `turn`: earlier jobs of its user. `slot`: a worker that is in use.
 * `capacity`: room for one more worker. `worker`: one that starts. `agent`: it has its worker, and its agent starts.
 */
export const JOB_WAITS = ["turn", "slot", "capacity", "worker", "agent"] as const;
export const jobWaitSchema = z
  .object({
    id: jobIdSchema,
    state: jobStateSchema,
    /** Null once it runs, and when it cannot be told now. */
    waits_on: z.enum(JOB_WAITS).nullable(),
    /** Of the worker that starts, as far as it is known. */
    step: z.enum(START_STEPS).nullable(),
  })
  .meta({ id: "JobWait" });
export type JobWait = z.infer<typeof jobWaitSchema>;

export const MAX_INPUT_CHARS = 64 * 1024;
export const jobInputSchema = z
  .strictObject({ text: z.string().min(1).max(MAX_INPUT_CHARS) })
  .meta({ id: "SendInput" });

// Events

export const MAX_EVENT_PAGE = 1_000;
export const eventsQuerySchema = z.strictObject({
  ...tenantQuery,
  after: z.coerce.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER).optional(),
  limit: z.coerce.number().int().min(1).max(MAX_EVENT_PAGE).default(MAX_EVENT_PAGE).optional(),
});

export const eventPageSchema = z
  .object({
    data: z.array(eventSchema),
    /** Pass it as `after` to go on, also when this page is empty. */
    cursor: z.number().int(),
    has_more: z.boolean(),
  })
  .meta({ id: "EventPage" });
export type EventPage = z.infer<typeof eventPageSchema>;

// Limits and usage

export const limitsSchema = z
  .object({
    tier: tierSchema,
    hourly: z.object({ limit: z.number(), remaining: z.number(), reset_at: timeSchema }),
    concurrent: z.object({ limit: z.number().nullable(), running: z.number() }),
    queued: z.object({ limit: z.number(), waiting: z.number() }),
    /** Of the minute that runs, over all gateways; null where it cannot be told. */
    requests: z
      .object({ limit: z.number(), remaining: z.number(), reset_at: timeSchema })
      .nullable()
      .optional(),
    /** That may be open at once, on one gateway. */
    streams: z.object({ per_user: z.number(), per_tenant: z.number() }).optional(),
    job_timeout_ms: z.number().nullable(),
    session_resume_ms: z.number(),
    max_prompt_bytes: z.number(),
    models: z.union([z.literal("none"), z.literal("any"), z.array(z.string())]),
  })
  .meta({ id: "Limits" });
export type Limits = z.infer<typeof limitsSchema>;

export const usageReportSchema = z
  .object({
    jobs: z.record(z.string(), z.number()),
    agent_ms: z.number(),
    input_tokens: z.number(),
    output_tokens: z.number(),
    since: timeSchema,
  })
  .meta({ id: "Usage" });
export type UsageReport = z.infer<typeof usageReportSchema>;

// Development

/** `.berth/dev.json`, which `npm start` writes. */
export const devFileSchema = z.object({
  url: z.url(),
  metrics_url: z.url(),
  nats_url: z.string(),
  /** A file for `nats --creds`: who has it is the platform. */
  nats_creds: z.string().optional(),
  /** How workers run here: `process`, `docker` or `kubernetes`. */
  driver: z.string().optional(),
  keys: z.object({
    free: z.string(),
    pro: z.string(),
    enterprise: z.string(),
    operator: z.string(),
  }),
});
export type DevFile = z.infer<typeof devFileSchema>;
