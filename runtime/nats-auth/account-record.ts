/** Changes of an account's record: pure. A change that changes nothing gives the same object. */
import type { AccountRecord } from "../../protocols/accounts.ts";
import { Nkey } from "./nkey.ts";
import { SHARED_ACCOUNT, tenantAccount } from "./worker-account.ts";

const TENANT_PREFIX = tenantAccount("");
/**
 * An account's token goes to the broker as one message, of 1 MiB unless its owner allows more. So many revocations are
 * 0.93 MiB of it, and their record 0.7.
 */
export const MOST_REVOCATIONS = 10_000;

/** A user, and the second after which no token of it counts anyway. */
export type Revocation = readonly [user: string, until: number];

/** The key's seed is kept nowhere: accounts are signed by the operator, users by the issuer. */
export function newAccount(name: string): AccountRecord {
  return {
    name,
    tenant: name === SHARED_ACCOUNT ? null : name.slice(TENANT_PREFIX.length),
    public_key: Nkey.make("account").publicKey,
    suspended: false,
    revocations: {},
  };
}

/** Puts users out, as many as there is room for, and forgets those whose tokens have expired by second `now`. */
export function revoked(
  record: AccountRecord,
  users: readonly Revocation[],
  now: number,
): AccountRecord {
  const current = pruned(record, now);
  const { revocations } = current;
  const room = Math.max(0, MOST_REVOCATIONS - Object.keys(revocations).length);
  const added = notIn(current, users, now).slice(0, room);
  if (added.length === 0) return current;
  return { ...current, revocations: { ...revocations, ...Object.fromEntries(added) } };
}

/** Those that the record does not put out, and whose tokens still count. */
export function notIn(
  record: AccountRecord,
  users: readonly Revocation[],
  now: number,
): readonly Revocation[] {
  return users.filter(([user, until]) => until >= now && record.revocations[user] === undefined);
}

export function pruned(record: AccountRecord, now: number): AccountRecord {
  const all = Object.entries(record.revocations);
  const current = all.filter(([, until]) => until >= now);
  if (current.length === all.length) return record;
  return { ...record, revocations: Object.fromEntries(current) };
}

export function suspended(record: AccountRecord, isSuspended: boolean): AccountRecord {
  return record.suspended === isSuspended ? record : { ...record, suspended: isSuspended };
}
