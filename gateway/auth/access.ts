/**
 * The one place that decides who a token is and whether that still holds.
 *
 * A1 A key is known by its SHA-256 alone; the key itself is neither stored nor logged.
 * A2 A key revoked, a tenant suspended or a token expired ends open streams too, not only new requests.
 */
import { createHash } from "node:crypto";
import { BerthError } from "../../protocols/errors.ts";
import type { ApiKeyRecord, TenantRecord } from "../../protocols/records.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { JwtVerifier } from "./jwt.ts";
import type { Principal } from "./principal.ts";
import type { WatchedBucket } from "./watched-bucket.ts";

/** The longest that one timer can count. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export function hashKey(key: string): string {
  return createHash("sha256").update(key).digest("hex");
}

/** Whether a stored key is good now. Pure. */
export function decideKey(record: ApiKeyRecord | undefined, now: number): BerthError | undefined {
  if (!record || record.revoked) return new BerthError("auth.invalid");
  if (record.expires_at !== null && record.expires_at <= now) return new BerthError("auth.expired");
  if (record.tenant === undefined && record.scope !== "operator") {
    return new BerthError("auth.invalid", "the key belongs to no tenant");
  }
  return undefined;
}

export interface Access {
  /** Rejects with `auth.missing`, `auth.invalid`, `auth.expired`, `auth.forbidden` or `tenant.suspended`. */
  authenticate(
    token: string | undefined,
    /** `isKnownOnly`: a key that is not in memory counts as invalid, so that nothing is asked of the broker. */
    options?: { readonly isKnownOnly?: boolean },
  ): Promise<Principal>;
  /** The tenant's record; rejects when the principal's tenant is gone or suspended. */
  tenantOf(principal: Principal): Promise<TenantRecord | undefined>;
  tenant(id: string): Promise<TenantRecord | undefined>;
  /** Calls back once, when the principal may go on no longer (A2). */
  onLost(principal: Principal, fn: (error: BerthError) => void): () => void;
}

export function createAccess(deps: {
  readonly keys: WatchedBucket<ApiKeyRecord>;
  readonly tenants: WatchedBucket<TenantRecord>;
  readonly jwt: JwtVerifier | undefined;
  readonly clock: Clock;
}): Access {
  const { keys, tenants, jwt, clock } = deps;

  const byKey = async (keyHash: string, isKnownOnly = false): Promise<Principal> => {
    const record = isKnownOnly ? keys.peek(keyHash) : await keys.get(keyHash);
    const refusal = decideKey(record, clock.now());
    if (refusal || !record) throw refusal ?? new BerthError("auth.invalid");
    const { user, scope, expires_at: expiresAt } = record;
    const tenant = scope === "operator" ? null : (record.tenant ?? null);
    return { tenant, user, scope, keyHash, keyId: record.id, expiresAt };
  };

  const tenantOf = async (principal: Principal): Promise<TenantRecord | undefined> => {
    if (principal.tenant === null) return undefined;
    const tenant = await tenants.get(principal.tenant);
    if (!tenant) throw new BerthError("auth.forbidden", "the credential's tenant does not exist");
    if (tenant.suspended) throw new BerthError("tenant.suspended");
    return tenant;
  };

  const verify = async (principal: Principal) => {
    if (principal.expiresAt !== null && principal.expiresAt <= clock.now()) {
      throw new BerthError("auth.expired");
    }
    if (principal.keyHash !== undefined) await byKey(principal.keyHash);
    await tenantOf(principal);
  };

  return {
    tenantOf,
    tenant: (id) => tenants.get(id),
    async authenticate(token, { isKnownOnly = false } = {}) {
      if (token === undefined) throw new BerthError("auth.missing");
      const isJwt = token.split(".").length === 3;
      if (isJwt && !jwt) throw new BerthError("auth.invalid");
      const principal = isJwt && jwt ? await jwt(token) : await byKey(hashKey(token), isKnownOnly);
      await tenantOf(principal);
      return principal;
    },
    onLost(principal, fn) {
      let over = false;
      const check = () => {
        verify(principal).catch((error: unknown) => {
          // A broker that does not answer is no reason to throw a client out.
          if (over || !(error instanceof BerthError) || error.retry !== "never") return;
          stop();
          fn(error);
        });
      };
      const stops = [
        keys.onChange((key) => key === principal.keyHash && check()),
        tenants.onChange((key) => key === principal.tenant && check()),
        expiryTimer(clock, principal.expiresAt, check),
      ];
      const stop = () => {
        over = true;
        for (const end of stops) end();
      };
      return stop;
    },
  };
}

/** Timers may fire a moment early, and count to `LONGEST_TIMER_MS` only: then the rest is waited for. */
function expiryTimer(clock: Clock, at: number | null, fn: () => void): () => void {
  if (at === null) return () => undefined;
  let stop: () => void = () => undefined;
  const wait = () => {
    const left = Math.max(1, at - clock.now());
    stop = clock.after(Math.min(left, LONGEST_TIMER_MS), () => {
      if (clock.now() >= at) fn();
      else wait();
    });
  };
  wait();
  return () => stop();
}
