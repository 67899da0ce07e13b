/** The part of the HTTP API that operators use: tenants and their keys, workers, nodes, queues, dead letters. */
import { z } from "zod";
import { pageOf, pageQuerySchema, tenantQuery, timeSchema } from "./api.ts";
import { actNameSchema, auditEntrySchema, auditOutcomeSchema } from "./audit.ts";
import { egressHostSchema, egressListSchema } from "./egress.ts";
import { START_STEPS, workerPhaseSchema, workerSpecSchema } from "./executor.ts";
import { idSchema, tenantIdSchema } from "./ids.ts";
import { activationSchema } from "./inspection.ts";
import { keysModeSchema, scopeSchema } from "./records.ts";
import { tierSchema } from "./tiers.ts";

export const tenantSchema = z
  .object({
    id: z.string(),
    name: z.string(),
    tier: tierSchema,
    suspended: z.boolean(),
    /** Hosts that its workers reach beside those of its tier. */
    egress: z.array(egressHostSchema),
    /** `sealed`: agents are given their users' keys. `brokered`: placeholders, and the node puts the keys in. */
    keys: keysModeSchema,
    created_at: timeSchema,
  })
  .meta({ id: "Tenant" });
export type ApiTenant = z.infer<typeof tenantSchema>;

export const putTenantSchema = z
  .strictObject({
    name: z.string().min(1).max(128),
    tier: tierSchema,
    suspended: z.boolean().default(false),
    /** Left out, they stay as they are. */
    egress: egressListSchema.optional(),
    keys: keysModeSchema.optional(),
  })
  .meta({ id: "PutTenant" });
export const tenantParamsSchema = z.strictObject({ id: tenantIdSchema });
export const tenantPageSchema = pageOf(tenantSchema).meta({ id: "TenantPage" });

export const createKeySchema = z
  .strictObject({
    name: z.string().min(1).max(128),
    user: idSchema,
    scope: z.enum(["user", "tenant_admin"]).default("user"),
    expires_at: timeSchema.optional(),
  })
  .meta({ id: "CreateKey" });

export const keySchema = z
  .object({
    id: z.string(),
    name: z.string(),
    tenant: z.string().nullable(),
    user: z.string(),
    scope: scopeSchema,
    created_at: timeSchema,
    expires_at: timeSchema.nullable(),
    revoked: z.boolean(),
  })
  .meta({ id: "Key" });
export type ApiKey = z.infer<typeof keySchema>;

/** The only answer that ever holds the key itself. */
export const createdKeySchema = keySchema.extend({ key: z.string() }).meta({ id: "CreatedKey" });
export const cleanedKeysSchema = z
  .object({ removed: z.number().int() })
  .meta({ id: "CleanedKeys" });
export const keyPageSchema = pageOf(keySchema).meta({ id: "KeyPage" });
export const keyParamsSchema = z.strictObject({ id: tenantIdSchema, key_id: idSchema });

/** What its host measures is null where the host does not answer, the driver cannot tell, or nothing runs yet. */
export const workerSchema = z
  .object({
    id: z.string(),
    tenant: z.string(),
    user: z.string().nullable(),
    agent: z.string().nullable(),
    tier: tierSchema,
    phase: workerPhaseSchema,
    /** Of a start that is under way; null while it waits for capacity. */
    step: z.enum(START_STEPS).nullable(),
    slots: z.number(),
    jobs: z.array(z.string()),
    host: z.string().nullable(),
    driver: z.string().nullable(),
    image: z.string().nullable(),
    /** Mean between the last two readings: 1.5 is one CPU and a half. Null until there are two. */
    cpus_used: z.number().nullable(),
    /** What its tier gives it; a driver that does not isolate does not hold it to that. */
    cpus_limit: z.number(),
    memory_bytes: z.number().nullable(),
    /** As the driver enforces it; null is none. */
    memory_limit_bytes: z.number().nullable(),
    processes: z.number().nullable(),
    created_at: timeSchema,
    ready_at: timeSchema.nullable(),
    idle_since: timeSchema.nullable(),
    /** When it goes if nothing happens; null means never. */
    idle_deadline: timeSchema.nullable(),
  })
  .meta({ id: "Worker" });
export type ApiWorker = z.infer<typeof workerSchema>;
/** Nodes that were asked for live use and did not answer. */
const unanswered = z.array(z.string());
export const workerPageSchema = pageOf(workerSchema)
  .extend({
    unanswered,
    /** Workers that are started, paused and nobody's yet, by tier; for operators, else null. */
    dormant: z.record(z.string(), z.number()).nullable(),
  })
  .meta({ id: "WorkerPage" });
export type WorkerPage = z.infer<typeof workerPageSchema>;
export const workerListQuerySchema = pageQuerySchema.extend(tenantQuery);
export const workerParamsSchema = z.strictObject({ id: idSchema });
/** With what it was asked for. */
export const wholeWorkerSchema = workerSchema
  .extend({
    workspace: workerSpecSchema.shape.workspace,
    network: z.enum(["shared", "user", "tenant"]),
    internet: z.boolean(),
    storage_limit_bytes: z.number(),
    processes_limit: z.number(),
    unanswered,
  })
  .meta({ id: "WholeWorker" });
export type WholeWorker = z.infer<typeof wholeWorkerSchema>;
/** The last that it wrote, also after its end, for a while. */
export const workerLogSchema = z
  .object({
    id: z.string(),
    /** Where it ran. */
    node: z.string(),
    log: z.string(),
  })
  .meta({ id: "WorkerLog" });
export type WorkerLog = z.infer<typeof workerLogSchema>;

export const nodeSchema = z
  .object({
    id: z.string(),
    incarnation: z.string(),
    version: z.string(),
    started_at: timeSchema,
    draining: z.boolean(),
    drivers: z.array(z.object({ name: z.string(), max_workers: z.number() })),
    kinds: z.array(z.string()),
    /** Partitions that it tries to own now. */
    partitions: z.number().int(),
  })
  .meta({ id: "Node" });
export type ApiNode = z.infer<typeof nodeSchema>;
export const nodePageSchema = pageOf(nodeSchema).meta({ id: "NodePage" });
export const nodeParamsSchema = z.strictObject({ id: idSchema });
/** Its partitions are others' now; it lives on, without work, until it is stopped. */
export const drainedNodeSchema = z
  .object({ id: z.string(), drained: z.literal(true) })
  .meta({ id: "DrainedNode" });

export const actorListQuerySchema = pageQuerySchema.extend({
  node: idSchema.optional(),
  kind: idSchema.optional(),
  /** Also the platform's own tenant. */
  tenant: idSchema.optional(),
  /** What they wait on: `type` of an activation's state. */
  state: z.string().max(40).optional(),
});
export type ActorListQuery = z.infer<typeof actorListQuerySchema>;
/** Actors in memory, by name. */
export const activationPageSchema = pageOf(activationSchema)
  .extend({
    /** Nodes that hold a lease and did not answer: their actors are missing here. */
    unanswered: z.array(z.string()),
  })
  .meta({ id: "ActivationPage" });
export type ActivationPage = z.infer<typeof activationPageSchema>;

export const actorParamsSchema = z.strictObject({
  tenant: idSchema,
  kind: idSchema,
  key: idSchema,
});
/** `state=true` shows the actor's own state, which may be private. */
export const actorQuerySchema = z.strictObject({ state: z.enum(["true", "false"]).optional() });

const actorRecordSchema = z
  .object({
    /** The broker's number of the record. */
    revision: z.number(),
    /** Kept as a page of an event log. */
    journaled: z.boolean(),
    epoch: z.number(),
    /** The run of the node that wrote it, and the number of its commit. */
    writer: z.string(),
    commit: z.number(),
    /** By lane, the number of the last message handled. */
    cursor: z.record(z.string(), z.number()),
    /** What the last commit sends; sent already unless the actor is `publishing`. */
    outbox: z.array(z.object({ op: z.string(), to: z.string() })),
    effects: z.array(z.object({ id: z.string(), tool: z.string() })),
    reminders: z.array(z.string()),
    /** Last messages of senders that are remembered. */
    heard: z.number().int(),
    /** Of the newest event; null for actors without a journal. */
    last_seq: z.number().nullable(),
    /** Why it takes no messages; null when it does. */
    standing: z
      .object({
        state: z.enum(["parked", "stopped"]),
        code: z.string(),
        message: z.string(),
        since: timeSchema,
        until: timeSchema.nullable(),
      })
      .nullable(),
    state: z.unknown().optional(),
  })
  .meta({ id: "ActorRecord" });
export type ApiActorRecord = z.infer<typeof actorRecordSchema>;

export const actorSchema = z
  .object({
    tenant: z.string(),
    kind: z.string(),
    key: z.string(),
    partition: z.number().int(),
    /** The node that owns its partition; null when none answers for it. */
    owner: z.string().nullable(),
    active: activationSchema.nullable(),
    record: actorRecordSchema.nullable(),
  })
  .meta({ id: "Actor" });
export type ApiActor = z.infer<typeof actorSchema>;

export const ACTOR_ORDERS = ["restart", "unpark", "park", "stop"] as const;
export const actorOrderParamsSchema = actorParamsSchema.extend({ order: z.enum(ACTOR_ORDERS) });
export const actorOrderSchema = z
  .strictObject({
    /** Of `park` and `stop`: told to whoever asks the actor. */
    reason: z.string().min(1).max(500).optional(),
    /** Of `park` and `stop`: it ends by itself after so long. */
    for_ms: z.number().int().positive().optional(),
  })
  .nullish()
  .meta({ id: "ActorOrder" });
/** The order is stored; the actor obeys it before any other message. */
export const orderedActorSchema = actorParamsSchema
  .extend({ ordered: z.enum(ACTOR_ORDERS) })
  .meta({ id: "OrderedActor" });

export const queueSchema = z
  .object({
    tier: tierSchema,
    queued: z.number().int(),
    oldest_queued_at: timeSchema.nullable(),
    /** Workers of the tier's places by phase. */
    workers: z.record(z.string(), z.number()),
    places: z.number().int(),
  })
  .meta({ id: "Queue" });
export type ApiQueue = z.infer<typeof queueSchema>;
export const queuePageSchema = z
  .object({
    data: z.array(queueSchema),
    /** Places that did not answer or were too many to ask: the sums are lower bounds then. */
    unanswered: z.number().int(),
  })
  .meta({ id: "QueuePage" });

export const deadLetterViewSchema = z
  .object({
    id: z.string(),
    actor: z.object({ kind: z.string(), tenant: z.string(), key: z.string() }),
    lane: z.string(),
    message: z.string(),
    reason: z.object({ code: z.string(), message: z.string() }),
    attempts: z.number(),
    at: timeSchema,
  })
  .meta({ id: "DeadLetter" });
export type ApiDeadLetter = z.infer<typeof deadLetterViewSchema>;
/** With the message itself, which may hold what only the tenant should see. */
export const wholeDeadLetterSchema = deadLetterViewSchema
  .extend({
    /** Of the partition's owner that gave the message up; 0 when it never reached its actor. */
    epoch: z.number(),
    payload: z.unknown(),
  })
  .meta({ id: "WholeDeadLetter" });
export type ApiWholeDeadLetter = z.infer<typeof wholeDeadLetterSchema>;
export const deadLetterPageSchema = pageOf(deadLetterViewSchema).meta({ id: "DeadLetterPage" });
export const deadLetterParamsSchema = z.strictObject({ id: idSchema });
/** Which letters are meant: all that fit every field given. */
export const deadLetterFilterSchema = z.strictObject({
  tenant: idSchema.optional(),
  kind: idSchema.optional(),
  key: idSchema.optional(),
  /** Of the reason. */
  code: z.string().min(1).max(64).optional(),
});
export const deadLetterListQuerySchema = pageQuerySchema.extend(deadLetterFilterSchema.shape);
/** Newest first. `after` is the `next` of the page before. */
export const auditListQuerySchema = pageQuerySchema.extend({
  /** For operators: whose chain; the platform has one, too. Absent is all. */
  tenant: idSchema.optional(),
  act: actNameSchema.optional(),
  outcome: auditOutcomeSchema.optional(),
  since: timeSchema.optional(),
});
export const auditPageSchema = pageOf(auditEntrySchema).meta({ id: "AuditPage" });

export const MAX_AUDIT_EXPORT = 1_000;
/** Oldest first, whole chains: what can be verified. */
export const auditExportQuerySchema = z.strictObject({
  tenant: idSchema.optional(),
  limit: z.coerce.number().int().min(1).max(MAX_AUDIT_EXPORT).default(MAX_AUDIT_EXPORT),
  after: pageQuerySchema.shape.after,
});
export const auditExportSchema = auditPageSchema
  .extend({
    /** How long entries are kept; null is for good. */
    retention_ms: z.number().nullable(),
  })
  .meta({ id: "AuditExport" });

export const replayedSchema = z
  .object({
    replayed: z.number().int(),
    /** Those that stay, each with why. */
    failed: z.array(z.object({ id: z.string(), code: z.string(), message: z.string() })),
  })
  .meta({ id: "Replayed" });
export const purgedSchema = z.object({ purged: z.number().int() }).meta({ id: "Purged" });
