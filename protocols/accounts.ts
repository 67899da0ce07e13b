/**
 * Accounts of workers in the broker: their records, and the requests on `berth.accounts.<verb>` (msgpack) by which nodes
 * ask those that may change them.
 */
import { z } from "zod";
import { wireErrorSchema } from "./protocol.ts";

/** Under the account's name: `shared`, or `tenant.<id>`. What the broker is told follows from it. */
export const accountRecordSchema = z.object({
  name: z.string(),
  /** Of the tenant that it belongs to alone. */
  tenant: z.string().nullable(),
  public_key: z.string(),
  suspended: z.boolean(),
  /** Users that are out, by public key, and the second after which no token of theirs counts anyway. */
  revocations: z.record(z.string(), z.number()),
});
export type AccountRecord = z.infer<typeof accountRecordSchema>;

/** In the same bucket; no account has that name. */
export const ISSUERS_KEY = "issuers";
/** Public keys of those whose workers every account lets in, sorted: a rotation changes them, whatever nodes' files say. */
export const acceptedIssuersSchema = z.object({ accepted: z.array(z.string()) });

export const ACCOUNT_VERBS = {
  /** The account is there and known to the broker when this is answered. */
  ensure: {
    input: z.object({ account: z.string() }),
    output: z.object({ public_key: z.string() }),
  },
  /** The worker's credential counts no more. */
  revoke: {
    input: z.object({ account: z.string(), worker: z.string() }),
    output: z.object({}),
  },
} as const;
export type AccountVerb = keyof typeof ACCOUNT_VERBS;

export const accountReplySchema = z.union([
  z.object({ ok: z.literal(true), output: z.record(z.string(), z.unknown()) }),
  z.object({ ok: z.literal(false), error: wireErrorSchema }),
]);
export type AccountReply = z.infer<typeof accountReplySchema>;
