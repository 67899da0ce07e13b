/**
 * The audit trail as data: the one table of acts, and the entry that stands in a tenant's chain. An entry is the same
 * in the stream, in the API and in an export, so that anyone who has it can check its hash.
 */
import { z } from "zod";
import { scopeSchema } from "./records.ts";

/** An act's name is stable for ever, as an error's code is. */
export const AUDIT_ACTS = {
  "tenant.put": "A tenant was made or changed",
  "tenant.suspend": "A tenant was put as suspended",
  "key.create": "An API key was made",
  "key.revoke": "An API key was revoked",
  "key.clean": "API keys that were revoked or have expired were removed",
  "credential.put": "A provider's key of a user was stored",
  "credential.remove": "A provider's key of a user was removed",
  "credential.deliver": "A provider's key of a user was given to a worker",
  "vault.rotate": "The vault's key-encryption key was changed",
  "broker.revoke": "A credential of the broker was revoked",
  "broker.connect": "A client of the broker was refused",
  "egress.connect": "A worker asked for a way out of its network",
  "job.cancel": "An admin or an operator cancelled a job",
  "job.input": "An admin or an operator sent text to a job",
  "session.delete": "An admin or an operator deleted a session",
  "worker.read-log": "The log of a worker was read",
  "node.drain": "A node was drained",
  "actor.read-state": "An actor's own state was read",
  "actor.order": "An actor was restarted, stopped, parked or unparked",
  "dead-letter.read": "A dead letter was read with its message",
  "dead-letter.replay": "Dead letters were sent again",
  "dead-letter.purge": "Dead letters were thrown away",
  "backup.create": "All that Berth keeps was saved",
  "backup.restore": "All that Berth keeps was put back",
  "audit.export": "Entries of the audit trail were exported",
  "auth.refused": "A credential was missing or not valid",
  "api.denied": "A valid credential did not allow a request",
} as const satisfies Record<string, string>;
export type ActName = keyof typeof AUDIT_ACTS;
export const actNameSchema = z.enum(Object.keys(AUDIT_ACTS) as [ActName, ...ActName[]]);

/** `allowed`: it was let through; with a code it failed afterwards. */
export const auditOutcomeSchema = z.enum(["allowed", "denied"]);

export const auditActorSchema = z.object({
  /** Null for operators, and for whom nobody knows. */
  tenant: z.string().nullable(),
  user: z.string(),
  /** `none`: no valid credential. `system`: a part of Berth by itself. */
  scope: z.enum([...scopeSchema.options, "system", "none"]),
  /** The API key's id, never the key; null for other credentials. */
  key: z.string().nullable(),
});
export type AuditActor = z.infer<typeof auditActorSchema>;

const hash = z.string().regex(/^[0-9a-f]{64}$/);

export const auditEntrySchema = z
  .object({
    id: z.string(),
    /** Its number in the tenant's chain: 1, 2, 3 and so on, without a gap. */
    seq: z.number().int().positive(),
    time: z.iso.datetime({ offset: true }),
    /** Whose chain it is in: the tenant that was acted on, or the platform. */
    tenant: z.string(),
    actor: auditActorSchema,
    /** A name of `AUDIT_ACTS`; a newer build may write others. */
    act: z.string(),
    target: z.string(),
    outcome: auditOutcomeSchema,
    /** Of the error that denied it, or with which it failed. */
    code: z.string().nullable(),
    /** How often within a minute; more than one only for what was denied, and for openings of a brokered key. */
    count: z.number().int().positive(),
    request: z.string().nullable(),
    /** The network address that it came from. */
    source: z.string().nullable(),
    detail: z.record(z.string(), z.string()),
    prev_hash: hash,
    /** When the entry in front of it was made: it may be missing only if it has passed the retention. */
    prev_time: z.iso.datetime({ offset: true }).nullable(),
    /** SHA-256 over the canonical JSON of all other fields. */
    hash,
  })
  .meta({ id: "AuditEntry" });
export type AuditEntry = z.infer<typeof auditEntrySchema>;

/** What happened, from whoever knows it; the trail adds time, place and hash. */
export interface Act {
  /** Whose chain it goes to; `PLATFORM_TENANT` when it concerns no tenant. */
  readonly tenant: string;
  readonly actor: AuditActor;
  readonly act: ActName;
  readonly target: string;
  readonly outcome: AuditEntry["outcome"];
  readonly code?: string | undefined;
  readonly count?: number;
  readonly request?: string | undefined;
  readonly source?: string | undefined;
  /** Short facts that are no secret, such as the scope of a new key. */
  readonly detail?: Readonly<Record<string, string>>;
}

/** A part of Berth that acts by itself. */
export function systemActor(part: string): AuditActor {
  return { tenant: null, user: part, scope: "system", key: null };
}
