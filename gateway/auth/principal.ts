/** Who a request acts for, and what that allows. Pure. */
import { BerthError } from "../../protocols/errors.ts";
import type { Scope } from "../../protocols/records.ts";

export interface Principal {
  /** Null for operators, who belong to no tenant. */
  readonly tenant: string | null;
  readonly user: string;
  readonly scope: Scope;
  /** SHA-256 of the API key; undefined for a JWT. */
  readonly keyHash: string | undefined;
  /** The id of the API key, which may be told. */
  readonly keyId?: string;
  /** Milliseconds since the epoch; null is never. */
  readonly expiresAt: number | null;
}

/** A principal inside one tenant: what all user routes act for. */
export interface TenantPrincipal extends Principal {
  readonly tenant: string;
}

export function requireTenant(principal: Principal): TenantPrincipal {
  const { tenant } = principal;
  if (tenant !== null) return { ...principal, tenant };
  throw new BerthError("auth.forbidden", "an operator's credential belongs to no tenant");
}

/** The tenant whose things are read: the caller's own, or the one that an operator names; undefined is any. */
export function decideTenant(principal: Principal, named: string | undefined): string | undefined {
  if (principal.scope === "operator") return named;
  const { tenant } = requireTenant(principal);
  if (named === undefined || named === tenant) return tenant;
  throw new BerthError("auth.forbidden", "only operators may name a tenant", { field: "tenant" });
}
