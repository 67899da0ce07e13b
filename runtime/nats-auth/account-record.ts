/** Changes of an account's record: pure. A change that changes nothing gives the same object. */
import type { AccountRecord } from "../../protocols/accounts.ts";
import { Nkey } from "./nkey.ts";
import { SHARED_ACCOUNT, tenantAccount } from "./worker-account.ts";

const TENANT_PREFIX = tenantAccount("");

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

/** Puts users out until `until`, when their tokens have expired, and forgets those whose have. Seconds. */
export function revoked(
  record: AccountRecord,
  users: readonly string[],
  { now, until }: { readonly now: number; readonly until: number },
): AccountRecord {
  const fresh = users.filter((user) => record.revocations[user] === undefined);
  if (fresh.length === 0) return record;
  const current = Object.entries(record.revocations).filter(([, end]) => end >= now);
  const added = fresh.map((user) => [user, until] as const);
  return { ...record, revocations: Object.fromEntries([...current, ...added]) };
}

export function suspended(record: AccountRecord, isSuspended: boolean): AccountRecord {
  return record.suspended === isSuspended ? record : { ...record, suspended: isSuspended };
}
