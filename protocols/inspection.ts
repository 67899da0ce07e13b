/**
 * What a node tells of the actors it holds in memory, as JSON: to `nats req berth.node.<id>.actors`, to gateways, to the
 * command line. Never state, for that may be private. Readers ignore fields and states that they do not know.
 */
import { z } from "zod";
import { timeSchema } from "./api.ts";

/** What an activation waits on. Each state has the fields that explain it. */
export const ACTIVATION_STATES = [
  /** Nothing to do. */
  "idle",
  /** Its record is being read. */
  "loading",
  /** Runs the handler of `message`. */
  "handling",
  /** Its commit is on the way to the broker, with the turns of `message` and what came after it. */
  "committing",
  /** Committed; `left` outgoing entries are not stored by their receivers yet, the oldest goes `to`. */
  "publishing",
  /** Tries again at `until`, after an error of `code`. */
  "backoff",
  /** A long mailbox: its next `left` messages are being read from the broker. */
  "reading-mail",
  /** An ask waits for a message of its sender that is still on its way: number `seq` of `lane` (R4). */
  "waiting-for-mail",
  /** Takes control mail and reads alone, until then or until it is unparked: of `code`, for `reason`. */
  "parked",
  /** Takes nothing, until then or until it is restarted. */
  "stopped",
  /** Nothing to handle; tools run on its behalf. */
  "effects",
] as const;

const activationStateSchema = z.object({
  /** One of `ACTIVATION_STATES`, or one that a newer node knows. */
  type: z.string(),
  message: z.string().optional(),
  turns: z.number().optional(),
  left: z.number().optional(),
  to: z.string().optional(),
  until: timeSchema.optional(),
  attempts: z.number().optional(),
  code: z.string().optional(),
  reason: z.string().optional(),
  lane: z.string().optional(),
  seq: z.number().optional(),
  tools: z.array(z.string()).optional(),
});

export const activationSchema = z
  .object({
    kind: z.string(),
    tenant: z.string(),
    key: z.string(),
    node: z.string(),
    partition: z.number().int(),
    /** Of the partition under this owner: the fencing token of its commits. */
    epoch: z.number().int(),
    state: activationStateSchema,
    /** How long it has been in this state. */
    for_ms: z.number(),
    /** Messages that wait, by lane, and `asks`; those being handled are not among them. */
    mailbox: z.record(z.string(), z.number()),
    waiting: z.number(),
    /** How long the oldest that waits has done so; null when none does. */
    oldest_waiting_ms: z.number().nullable(),
    /** Messages handled since it came into memory. */
    turns: z.number(),
    /** The broker's number of its record as memory has it; 0 when it has none. */
    revision: z.number(),
    effects: z.array(z.object({ id: z.string(), tool: z.string(), for_ms: z.number().nullable() })),
    last_error: z.object({ code: z.string(), message: z.string(), at: timeSchema }).nullable(),
  })
  .meta({ id: "Activation" });
export type ApiActivation = z.infer<typeof activationSchema>;

/** The owner's answer about one actor; `active` is null when it is not in memory. */
export const inspectionSchema = z.object({
  node: z.string(),
  partition: z.number().int(),
  epoch: z.number().int(),
  active: activationSchema.nullable(),
});
export type Inspection = z.infer<typeof inspectionSchema>;

/** What a node tells of an actor's newest record, asked for as `tenant/kind/key`; all null when it has none. */
export const storedRecordSchema = z.object({
  revision: z.number().int().nullable(),
  journaled: z.boolean().nullable(),
  /** Base64 of the stored bytes. */
  data: z.string().nullable(),
});

/** What `actors` of a node may be asked; all of it may be left out. */
export const activationQuerySchema = z.object({
  kind: z.string().optional(),
  tenant: z.string().optional(),
  state: z.string().optional(),
  /** Only actors whose name (`tenant/kind/key`) comes after it. */
  after: z.string().optional(),
  limit: z.number().int().positive().max(1_000).default(100),
  /** `name` is the order of pages; `waiting` puts the fullest mailbox first. */
  sort: z.enum(["name", "waiting"]).default("waiting"),
});
export type ActivationQuery = z.infer<typeof activationQuerySchema>;

export const activationsSchema = z.object({
  node: z.string(),
  /** Actors in memory that the query means, those beyond its limit too. */
  total: z.number().int(),
  actors: z.array(activationSchema),
});
