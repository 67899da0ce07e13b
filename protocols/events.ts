/** Events of a session: what every reader sees, on every transport. */
import { z } from "zod";
import { wireErrorSchema } from "./protocol.ts";

export const usageSchema = z.object({
  input_tokens: z.number().optional(),
  output_tokens: z.number().optional(),
  cost_usd: z.number().optional(),
  duration_ms: z.number().optional(),
});
export type Usage = z.infer<typeof usageSchema>;

/** The data of each type. `agent.output` text is UTF-8; bytes that are not are replaced, and `binary` says so. */
export const EVENT_DATA = {
  "job.queued": z.object({
    agent: z.string(),
    tier: z.string(),
    prompt_preview: z.string(),
    attempt: z.number().optional(),
  }),
  "job.starting": z.object({ worker: z.string(), attempt: z.number() }),
  "job.started": z.object({ worker: z.string(), attempt: z.number(), pid: z.number().optional() }),
  "agent.output": z.object({
    stream: z.enum(["stdout", "stderr"]),
    text: z.string(),
    /** Byte offset of this text in its stream. */
    offset: z.number(),
    binary: z.literal(true).optional(),
    /** Set on the one event that says output past the job's limit was dropped, with the bytes dropped so far. */
    truncated_bytes: z.number().optional(),
  }),
  "agent.message": z.object({
    role: z.string(),
    text: z.string(),
    partial: z.boolean().optional(),
  }),
  "agent.tool": z.object({
    name: z.string(),
    phase: z.enum(["call", "result"]),
    call_id: z.string().optional(),
    input: z.unknown().optional(),
    output: z.unknown().optional(),
    is_error: z.boolean().optional(),
  }),
  "job.succeeded": z.object({ exit_code: z.number(), usage: usageSchema.optional() }),
  "job.failed": z.object({
    code: z.string(),
    message: z.string(),
    exit_code: z.number().optional(),
    usage: usageSchema.optional(),
  }),
  "job.cancelled": z.object({ by: z.string(), processes_killed: z.number().optional() }),
  "job.timed_out": z.object({ limit_ms: z.number() }),
  "job.interrupted": z.object({
    reason: z.string(),
    will_retry: z.boolean(),
    /** How the worker ended, such as `worker.lost` or `worker.out_of_memory`, where that is known. */
    code: z.string().optional(),
  }),
  "session.gap": z.object({ oldest: z.number() }),
} as const;

export type EventType = keyof typeof EVENT_DATA;
export const EVENT_TYPES = Object.keys(EVENT_DATA) as readonly EventType[];
export type EventData<T extends EventType> = z.infer<(typeof EVENT_DATA)[T]>;

export const eventSchema = z.object({
  id: z.string(),
  /** Gapless per session, from 1. */
  seq: z.number().int().positive(),
  type: z.enum(EVENT_TYPES as [EventType, ...EventType[]]),
  /** RFC 3339. */
  time: z.string(),
  session_id: z.string(),
  job_id: z.string().nullable(),
  data: z.record(z.string(), z.unknown()),
});
export type SessionEvent = z.infer<typeof eventSchema>;

const LAST_TYPES: readonly EventType[] = [
  "job.succeeded",
  "job.failed",
  "job.cancelled",
  "job.timed_out",
];

/** Whether the event is the last of its job. An interruption that is tried again is not. */
export function endsJob(event: Pick<SessionEvent, "type" | "data">): boolean {
  if (event.type === "job.interrupted") return event.data["will_retry"] !== true;
  return LAST_TYPES.includes(event.type);
}

/** What an executor sends up: an event without place or number; the session gives it both. */
export const draftEventSchema = z.object({
  type: z.enum(["job.started", "agent.output", "agent.message", "agent.tool"]),
  /** Milliseconds since the epoch, by the executor's clock. */
  at: z.number(),
  data: z.record(z.string(), z.unknown()),
});
export type DraftEvent = z.infer<typeof draftEventSchema>;

/** How an attempt ended, as its executor says. */
export const outcomeSchema = z.discriminatedUnion("state", [
  z.object({ state: z.literal("succeeded"), exit_code: z.number(), usage: usageSchema.optional() }),
  z.object({
    state: z.literal("failed"),
    error: wireErrorSchema,
    exit_code: z.number().optional(),
    usage: usageSchema.optional(),
  }),
  z.object({ state: z.literal("cancelled"), processes_killed: z.number() }),
  z.object({ state: z.literal("timed_out"), limit_ms: z.number() }),
]);
export type Outcome = z.infer<typeof outcomeSchema>;
