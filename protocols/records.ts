/** JSON values of the buckets that people and gateways read: tenants, API keys, nodes, partitions, sessions. */
import { z } from "zod";
import { egressHostSchema } from "./egress.ts";
import { idSchema, tenantIdSchema } from "./ids.ts";
import { metadataSchema } from "./job.ts";
import { MAIL_LANES } from "./protocol.ts";
import { tierSchema } from "./tiers.ts";

export const keysModeSchema = z.enum(["sealed", "brokered"]);

/** Under the tenant's id. Written by its supervisor, watched by gateways. */
export const tenantRecordSchema = z.object({
  id: z.string(),
  name: z.string().min(1).max(128),
  tier: tierSchema,
  suspended: z.boolean(),
  /** Hosts that its workers reach beside those of its tier. */
  egress: z.array(egressHostSchema).optional(),
  /** `sealed` (default): its agents are given their users' keys. `brokered`: placeholders, and the node puts the keys in. */
  keys: keysModeSchema.optional(),
  created_at: z.number(),
});
export type TenantRecord = z.infer<typeof tenantRecordSchema>;

export const SCOPES = ["user", "tenant_admin", "operator"] as const;
export const scopeSchema = z.enum(SCOPES);
export type Scope = z.infer<typeof scopeSchema>;

/** Under the SHA-256 of the key in hex: the key itself is shown once and stored nowhere. */
export const apiKeyRecordSchema = z.object({
  id: z.string(),
  name: z.string(),
  /** Absent for operators, who belong to no tenant. */
  tenant: tenantIdSchema.optional(),
  user: idSchema,
  scope: scopeSchema,
  created_at: z.number(),
  expires_at: z.number().nullable(),
  revoked: z.boolean(),
});
export type ApiKeyRecord = z.infer<typeof apiKeyRecordSchema>;

/** A node's lease. Gone when the TTL passes without renewal. */
export const nodeRecordSchema = z.object({
  id: z.string(),
  /** Changes at every start of the process. */
  incarnation: z.string(),
  version: z.string(),
  started_at: z.number(),
  draining: z.boolean(),
  /** Drivers that this node hosts, with the workers each may hold. */
  drivers: z.array(z.object({ name: z.string(), max_workers: z.number() })),
  kinds: z.array(z.string()),
  /** Messages that it takes, by kind: another build may know more, or fewer. */
  messages: z.record(z.string(), z.array(z.string())).optional(),
  /** How often this run was taken for dead and came back. Absent: a build that answers no probes. */
  evictions: z.number().int().nonnegative().optional(),
});
export type NodeRecord = z.infer<typeof nodeRecordSchema>;

/** Who tries to own a partition. The epoch grows with every claim and is the fencing token of its actors. */
export const partitionRecordSchema = z.object({
  epoch: z.number().int().positive(),
  node: z.string().nullable(),
  incarnation: z.string().nullable(),
});
export type PartitionRecord = z.infer<typeof partitionRecordSchema>;

/** In the bucket of partitions, beside them, with a TTL: while it is there nobody owns any, so that a copy of everything can be made. */
export const HOLD_KEY = "hold";
export const holdRecordSchema = z.object({
  /** Who wants it, and for what. */
  by: z.string(),
  since: z.number(),
});
export type HoldRecord = z.infer<typeof holdRecordSchema>;

/** Under `<tenant>.<user>.<session>`: the index from which sessions are listed. */
export const sessionRecordSchema = z.object({
  id: z.string(),
  tenant: z.string(),
  user: z.string(),
  agent: z.string(),
  tier: tierSchema,
  title: z.string().nullable(),
  metadata: metadataSchema,
  created_at: z.number(),
  deleted: z.boolean(),
});
export type SessionRecord = z.infer<typeof sessionRecordSchema>;

/** Under `<tenant>.<kind>.<key>` of the actor that holds the queue: jobs that wait there. */
export const queueRecordSchema = z.object({
  tier: tierSchema,
  waiting: z.number().int().nonnegative(),
  /** When the oldest that waits there was accepted. */
  oldest_at: z.number(),
});
export type QueueRecord = z.infer<typeof queueRecordSchema>;

/** In the dead letters stream: what could not be handled, why, and all that is needed to send it again. */
export const deadLetterSchema = z.object({
  id: z.string(),
  actor: z.object({ kind: z.string(), tenant: z.string(), key: z.string() }),
  lane: z.enum(MAIL_LANES),
  envelope: z.unknown(),
  reason: z.object({ code: z.string(), message: z.string() }),
  epoch: z.number(),
  attempts: z.number(),
  at: z.number(),
});
export type DeadLetter = z.infer<typeof deadLetterSchema>;
