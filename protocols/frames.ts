/**
 * Frames of the WebSocket `GET /v1/stream`, JSON text both ways. A browser authenticates by offering
 * the subprotocols `berth.v1` and `berth.bearer.<token>`; others by header or by an `auth` frame first.
 */
import { z } from "zod";
import { createJobSchema, MAX_INPUT_CHARS } from "./api.ts";
import { eventSchema } from "./events.ts";
import { jobIdSchema, sessionIdSchema, tenantIdSchema } from "./ids.ts";
import { scopeSchema } from "./records.ts";
import { tierSchema } from "./tiers.ts";

/** The subprotocol that the server chooses. */
export const STREAM_PROTOCOL = "berth.v1";
/** Offered in front of a token that has only characters of a subprotocol, as API keys and JWTs do. */
export const BEARER_PROTOCOL_PREFIX = "berth.bearer.";

/** Chosen by the client, echoed in the answer. */
const ref = z.string().min(1).max(128);
const cursor = z.number().int().nonnegative();

export const clientFrameSchema = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("auth"), token: z.string().min(1).max(8_192) }),
  /** Without `after` the stream starts at the newest event; 0 is the beginning. */
  z.strictObject({
    type: z.literal("subscribe"),
    session_id: sessionIdSchema,
    /** For operators: whose session it is, when they know. */
    tenant: tenantIdSchema.optional(),
    after: cursor.optional(),
    ref: ref.optional(),
  }),
  z.strictObject({
    type: z.literal("unsubscribe"),
    session_id: sessionIdSchema,
    ref: ref.optional(),
  }),
  /** Also subscribes to the job's session, in front of the job's first event. */
  z.strictObject({ type: z.literal("submit"), ref, job: createJobSchema }),
  z.strictObject({ type: z.literal("cancel"), job_id: jobIdSchema, ref: ref.optional() }),
  z.strictObject({
    type: z.literal("input"),
    job_id: jobIdSchema,
    text: z.string().min(1).max(MAX_INPUT_CHARS),
    ref: ref.optional(),
  }),
  z.strictObject({ type: z.literal("ping"), ref: ref.optional() }),
]);
export type ClientFrame = z.infer<typeof clientFrameSchema>;

export const serverFrameSchema = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("welcome"),
    connection_id: z.string(),
    tenant: z.string().nullable(),
    user: z.string(),
    scope: scopeSchema,
    tier: tierSchema.nullable(),
    heartbeat_ms: z.number(),
    max_subscriptions: z.number(),
  }),
  /** `seq` is the cursor that the stream starts after. */
  z.object({
    type: z.literal("subscribed"),
    session_id: z.string(),
    seq: z.number(),
    ref: z.string().optional(),
  }),
  z.object({
    type: z.literal("unsubscribed"),
    session_id: z.string(),
    seq: z.number(),
    ref: z.string().optional(),
  }),
  z.object({
    type: z.literal("accepted"),
    ref: z.string(),
    job_id: z.string(),
    session_id: z.string(),
  }),
  /** A `cancel` or `input` was taken. */
  z.object({ type: z.literal("done"), ref: z.string().optional(), job_id: z.string() }),
  z.object({ type: z.literal("event"), event: eventSchema }),
  z.object({
    type: z.literal("error"),
    code: z.string(),
    message: z.string(),
    ref: z.string().optional(),
    session_id: z.string().optional(),
    /** With `session.slow_reader`: the last event that was sent. */
    seq: z.number().optional(),
    retry_after_ms: z.number().optional(),
  }),
  z.object({ type: z.literal("pong"), ref: z.string().optional() }),
  /** The last frame before the server closes: subscribe again elsewhere, after these cursors. */
  z.object({
    type: z.literal("closing"),
    reason: z.string(),
    cursors: z.record(z.string(), z.number()),
    reconnect_after_ms: z.number(),
  }),
]);
export type ServerFrame = z.infer<typeof serverFrameSchema>;

/** Why the server closed a stream. */
export const CLOSE_CODES = {
  /** This gateway is draining: connect again, after `closing.reconnect_after_ms`. */
  restart: 1012,
  /** The reader was too slow; `error session.slow_reader` names its last seq. */
  tryLater: 1013,
  malformed: 4400,
  auth: 4401,
  forbidden: 4403,
  idle: 4408,
} as const;
