/** The isolation policy as scopes of the gateway's routes: a pure projection, and what the routes ask. */
import { BerthError } from "../../protocols/errors.ts";
import {
  covers,
  type GrantScope,
  type Policy,
  type PrincipalKind,
  ROUTES,
  type RouteGroup,
} from "../../protocols/isolation.ts";
import { ISOLATION_POLICY } from "../../protocols/isolation-policy.ts";
import { SCOPES, type Scope } from "../../protocols/records.ts";
import { decideTenant, type Principal } from "./principal.ts";

/** Whose things a scope reaches on a group of routes. */
export type RouteReach = "none" | Exclude<GrantScope, "own" | "fleet">;
const ROUTE_ACTIONS = ["read", "write"] as const;
export type RouteAction = (typeof ROUTE_ACTIONS)[number];

const KINDS: Readonly<Record<Scope, PrincipalKind>> = {
  user: "user",
  tenant_admin: "tenantAdmin",
  operator: "operator",
};
/** The widest counts. */
const WIDTH: readonly RouteReach[] = ["none", "user", "tenant", "any"];

export function routeReach(
  policy: Policy,
  scope: Scope,
  group: RouteGroup,
  action: RouteAction,
): RouteReach {
  const reaches = policy
    .filter(
      (grant) =>
        grant.principal === KINDS[scope] &&
        grant.action === action &&
        grant.resources.includes("route") &&
        covers(grant, group),
    )
    .map(({ scope: reach }) => WIDTH.indexOf(reach as RouteReach));
  return WIDTH[Math.max(0, ...reaches)] ?? "none";
}

/** Asked at every request, so worked out once. */
const REACHES = new Map(
  SCOPES.flatMap((scope) =>
    ROUTES.flatMap((group) =>
      ROUTE_ACTIONS.map((action) => [
        keyOf(scope, group, action),
        routeReach(ISOLATION_POLICY, scope, group, action),
      ]),
    ),
  ),
);

function keyOf(scope: Scope, group: RouteGroup, action: RouteAction): string {
  return `${scope} ${action} ${group}`;
}

function reachOf(principal: Principal, group: RouteGroup, action: RouteAction): RouteReach {
  return REACHES.get(keyOf(principal.scope, group, action)) ?? "none";
}

/** Whose things the caller reaches there. Throws `auth.forbidden` when nobody's. */
export function requireRoute(
  principal: Principal,
  group: RouteGroup,
  action: RouteAction,
): Exclude<RouteReach, "none"> {
  const reach = reachOf(principal, group, action);
  if (reach !== "none") return reach;
  throw new BerthError("auth.forbidden", `a credential of scope ${principal.scope} may not`);
}

/** Whether `principal` reaches what belongs to a whole tenant. */
export function reachesTenant(
  principal: Principal,
  group: RouteGroup,
  action: RouteAction,
  tenant: string,
): boolean {
  const reach = reachOf(principal, group, action);
  return reach === "any" || (reach === "tenant" && principal.tenant === tenant);
}

/** Whether `principal` reaches what `user` of `tenant` owns. What it does not reach does not exist for it (404). */
export function reaches(
  principal: Principal,
  group: RouteGroup,
  action: RouteAction,
  owner: { readonly tenant: string; readonly user: string },
): boolean {
  const reach = reachOf(principal, group, action);
  if (reach === "none" || reach === "any") return reach === "any";
  if (principal.tenant !== owner.tenant) return false;
  return reach === "tenant" || principal.user === owner.user;
}

/** Keys `<tenant>.<user>.<id>` of what the caller reaches, as a pattern; `id` narrows it to one thing. */
export function decidePattern(
  principal: Principal,
  group: RouteGroup,
  named: string | undefined,
  id = "*",
): string {
  const reach = requireRoute(principal, group, "read");
  const tenant = decideTenant(principal, named) ?? "*";
  return `${tenant}.${reach === "user" ? principal.user : "*"}.${id}`;
}
