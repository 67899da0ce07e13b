/** A job: its request, its states and the moves between them. */
import { z } from "zod";
import { MAX_JOB_CREDENTIALS, providerSchema } from "./credentials.ts";
import { BerthError } from "./errors.ts";
import { usageSchema } from "./events.ts";
import { idSchema, jobIdSchema, sessionIdSchema } from "./ids.ts";
import { wireErrorSchema } from "./protocol.ts";
import { tierSchema } from "./tiers.ts";

export const JOB_STATES = [
  "queued",
  "starting",
  "running",
  "succeeded",
  "failed",
  "cancelled",
  "timed_out",
  "interrupted",
] as const;
export const jobStateSchema = z.enum(JOB_STATES);
export type JobState = z.infer<typeof jobStateSchema>;

export const TERMINAL_STATES = [
  "succeeded",
  "failed",
  "cancelled",
  "timed_out",
  "interrupted",
] as const;
export type TerminalState = (typeof TERMINAL_STATES)[number];
export const terminalStateSchema = z.enum(TERMINAL_STATES);

/** Where each state may go. `queued` again from `starting` and `running` is the one declared retry. */
const MOVES: Record<JobState, readonly JobState[]> = {
  queued: ["starting", "failed", "cancelled", "interrupted"],
  starting: ["running", "queued", "succeeded", "failed", "cancelled", "timed_out", "interrupted"],
  running: ["queued", "succeeded", "failed", "cancelled", "timed_out", "interrupted"],
  succeeded: [],
  failed: [],
  cancelled: [],
  timed_out: [],
  interrupted: [],
};

export function isTerminal(state: JobState): state is TerminalState {
  return MOVES[state].length === 0;
}

export function canMove(from: JobState, to: JobState): boolean {
  return MOVES[from].includes(to);
}

/** `to`, if the table allows the move; throws `internal.unexpected` when it does not, for such a move is our mistake. */
export function moveJob(from: JobState, to: JobState): JobState {
  if (canMove(from, to)) return to;
  throw new BerthError("internal.unexpected", `a job cannot go from ${from} to ${to}`);
}

/** Prompts and scripts up to this many bytes; a larger one is `request.too_large`. Keeps a record under the broker's 1 MiB. */
export const MAX_PROMPT_BYTES = 256 * 1024;
export const MAX_METADATA_ENTRIES = 32;

export const metadataSchema = z
  .record(z.string().min(1).max(64), z.string().max(512))
  .refine((m) => Object.keys(m).length <= MAX_METADATA_ENTRIES, {
    message: `at most ${MAX_METADATA_ENTRIES} entries`,
  });

/** The stored order of a job, under `<tenant>.<user>.<job>` in the jobs bucket; the session rewrites it when the job ends. */
export const jobRecordSchema = z.object({
  id: jobIdSchema,
  tenant: idSchema,
  user: idSchema,
  session_id: sessionIdSchema,
  agent: z.string(),
  tier: tierSchema,
  prompt: z.string(),
  model: z.string().optional(),
  /** Providers whose stored keys the agent is given beside those that it always gets. */
  credentials: z.array(providerSchema).max(MAX_JOB_CREDENTIALS).optional(),
  timeout_ms: z.number().int().positive().nullable(),
  metadata: metadataSchema.optional(),
  created_at: z.number(),
  state: jobStateSchema,
  attempt: z.number().int(),
  started_at: z.number().nullable(),
  finished_at: z.number().nullable(),
  exit_code: z.number().nullable(),
  error: wireErrorSchema.nullable(),
  usage: usageSchema.nullable(),
});
export type JobRecord = z.infer<typeof jobRecordSchema>;

export function jobKey(tenant: string, user: string, job: string): string {
  return `${tenant}.${user}.${job}`;
}

/** What travels between the actors: enough to place a job, never its prompt. */
export const jobTicketSchema = z.object({
  job_id: z.string(),
  session_id: z.string(),
  user: z.string(),
  tenant: z.string(),
  agent: z.string(),
  tier: tierSchema,
  queued_at: z.number(),
  attempt: z.number().int().positive(),
  /** Its agent may be given its user's keys: no other user's job runs beside it in one worker. */
  keys: z.boolean().optional(),
  /** Of the turn that accepted it: however long it waits and whoever lets it go, its run belongs to that trace. */
  traceparent: z.string().optional(),
});
export type JobTicket = z.infer<typeof jobTicketSchema>;
