/**
 * The session: a journaled actor. Its journal is the event log; it runs the attempts of its jobs on the
 * workers that places assign, and is the only one that says how a job ended.
 */
import { z } from "zod";
import { refSchema } from "../envelope.ts";
import { frameSchema } from "../executor.ts";
import { jobStateSchema, jobTicketSchema, metadataSchema } from "../job.ts";
import { ask, protocol, tell, tool } from "../protocol.ts";
import { tierSchema } from "../tiers.ts";

const birth = {
  user: z.string(),
  agent: z.string(),
  tier: tierSchema,
  title: z.string().optional(),
  metadata: metadataSchema.optional(),
};

export const sessionViewSchema = z.object({
  id: z.string(),
  tenant: z.string(),
  user: z.string(),
  agent: z.string(),
  tier: tierSchema,
  title: z.string().nullable(),
  metadata: metadataSchema,
  created_at: z.number(),
  last_active_at: z.number(),
  /** When it can no longer be resumed, unless used again. */
  expires_at: z.number(),
  /** The seq of its newest event; 0 before the first. */
  last_seq: z.number(),
  active_jobs: z.array(z.string()),
});
export type SessionView = z.infer<typeof sessionViewSchema>;

/** Starts the attempt on its worker. Resolves when the executor has taken the order (at most once per attempt). */
export const runAttempt = tool(
  "session.run-attempt",
  {
    worker: z.string(),
    job_id: z.string(),
    session_id: z.string(),
    tenant: z.string(),
    user: z.string(),
    attempt: z.number(),
    agent_session: z.string().optional(),
  },
  {},
);
export const cancelAttempt = tool(
  "session.cancel-attempt",
  { worker: z.string(), job_id: z.string(), attempt: z.number(), by: z.string() },
  {},
);

/** Live state of a job that has not ended; ended jobs are read from the jobs bucket. */
export const liveJobSchema = z.object({
  state: jobStateSchema,
  attempt: z.number(),
  worker: z.string().nullable(),
  started_at: z.number().nullable(),
});

export const Session = protocol("session", {
  create: ask(birth, { session: sessionViewSchema }),
  describe: ask({}, { session: sessionViewSchema }, { readOnly: true }),
  /** Cancels what runs, forbids new jobs; the log stays until its retention ends. */
  remove: ask({ by: z.string() }, {}),
  liveJob: ask({ job_id: z.string() }, { job: liveJobSchema.nullable() }, { readOnly: true }),
  /** Text for the agent's standard input; refused when the job does not run. Returns where to send it. */
  route: ask(
    { job_id: z.string() },
    { worker: z.string(), attempt: z.number() },
    { readOnly: true },
  ),

  /** From the user actor: a job was accepted; creates the session when `birth` is there. */
  queued: tell({
    ticket: jobTicketSchema,
    prompt_preview: z.string(),
    birth: z.object(birth).optional(),
  }),
  /** From a place: this worker's slot is the job's. */
  assign: tell({ ticket: jobTicketSchema, worker: z.string(), place: refSchema }),
  /** From the user actor. */
  cancel: tell({ job_id: z.string(), by: z.string() }, { lane: "control" }),
  /** From a place: the worker is gone. */
  lost: tell({
    job_id: z.string(),
    attempt: z.number(),
    worker: z.string(),
    reason: z.string(),
    /** How the worker ended by itself. */
    code: z.string().optional(),
  }),
  /** From the executor, through the up subject; acknowledged once journaled. */
  frame: ask(frameSchema.shape, { acked: z.number() }),
  runFailed: tell(runAttempt.result),
  cancelFailed: tell(cancelAttempt.result),
  /** Its own reminder: the attempt's worker should have been heard of by now. */
  overdue: tell({ job_id: z.string(), attempt: z.number() }),
});
