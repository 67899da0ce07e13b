/**
 * The wire between nodes and the executor inside a worker. Down: request-reply on `berth.down.<worker>`
 * (msgpack). Up: numbered frames, each an ask to the job's session, sent until acknowledged; the session
 * drops a frame whose number it has had, so the event log has no gap and no double.
 */
import { z } from "zod";
import { draftEventSchema, outcomeSchema } from "./events.ts";
import { wireErrorSchema } from "./protocol.ts";
import { tierSchema } from "./tiers.ts";

export const jobOrderSchema = z.object({
  job_id: z.string(),
  attempt: z.number().int().positive(),
  tenant: z.string(),
  user: z.string(),
  session_id: z.string(),
  agent: z.string(),
  prompt: z.string(),
  model: z.string().optional(),
  timeout_ms: z.number().int().positive().nullable(),
  /** The agent's own session id from an earlier job of this session, to resume. */
  agent_session: z.string().optional(),
  /** Variables for the agent process alone: API keys among them. Never logged. */
  env: z.record(z.string(), z.string()),
  /** The trace of the attempt: for its frames, and for the agent as TRACEPARENT. */
  traceparent: z.string().optional(),
});
export type JobOrder = z.infer<typeof jobOrderSchema>;

export const downRequestSchema = z.discriminatedUnion("type", [
  z.object({ type: z.literal("run"), order: jobOrderSchema }),
  z.object({ type: z.literal("cancel"), job_id: z.string(), attempt: z.number(), by: z.string() }),
  z.object({ type: z.literal("input"), job_id: z.string(), attempt: z.number(), text: z.string() }),
  z.object({ type: z.literal("status") }),
  z.object({ type: z.literal("stop"), reason: z.string() }),
]);
export type DownRequest = z.infer<typeof downRequestSchema>;

export const workerStatusSchema = z.object({
  worker: z.string(),
  /** Attempts that run, or have ended with frames still unacknowledged. */
  jobs: z.array(z.object({ job_id: z.string(), attempt: z.number() })),
  pid: z.number(),
  uptime_ms: z.number(),
  /** CPU time of the agents' processes, so that a busy worker is not taken for idle. */
  cpu_ms: z.number(),
  memory_bytes: z.number(),
});
export type WorkerStatus = z.infer<typeof workerStatusSchema>;

export const downReplySchema = z.union([
  z.object({ ok: z.literal(true), status: workerStatusSchema.optional() }),
  z.object({ ok: z.literal(false), error: wireErrorSchema }),
]);
export type DownReply = z.infer<typeof downReplySchema>;

/** One batch of events of one attempt. Frame numbers start at 1 and have no gap. */
export const frameSchema = z.object({
  worker: z.string(),
  job_id: z.string(),
  attempt: z.number().int().positive(),
  frame: z.number().int().positive(),
  events: z.array(draftEventSchema),
  /** The agent's own session id, once known. */
  agent_session: z.string().optional(),
  /** On the last frame only: how the attempt ended. The process tree is gone when this is sent. */
  outcome: outcomeSchema.optional(),
});
export type Frame = z.infer<typeof frameSchema>;

/** What a driver is asked to start. */
export const workerSpecSchema = z.object({
  worker: z.string(),
  tenant: z.string(),
  /** Set when the worker serves one user alone. */
  user: z.string().optional(),
  /** Set when the worker serves one agent alone. */
  agent: z.string().optional(),
  tier: tierSchema,
  slots: z.number().int().positive(),
  workspace: z.enum(["job", "user", "tenant"]),
  /** Names the kept workspace: unused for `job`. */
  workspace_key: z.string(),
  cpus: z.number(),
  memory_bytes: z.number(),
  storage_bytes: z.number(),
});
export type WorkerSpec = z.infer<typeof workerSpecSchema>;

export const workerPhaseSchema = z.enum([
  "wanted",
  "starting",
  "idle",
  "busy",
  "draining",
  "stopping",
  "lost",
]);

/** A worker as people see it, under its id in the workers bucket. */
export const workerRecordSchema = z.object({
  id: z.string(),
  spec: workerSpecSchema,
  host: z.string().nullable(),
  driver: z.string().nullable(),
  phase: workerPhaseSchema,
  created_at: z.number(),
  ready_at: z.number().nullable(),
  idle_since: z.number().nullable(),
  idle_deadline: z.number().nullable(),
  jobs: z.array(z.string()),
});
export type WorkerRecord = z.infer<typeof workerRecordSchema>;
