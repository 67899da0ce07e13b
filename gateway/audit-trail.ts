/**
 * What the gateway tells the audit trail. A route names its act in its configuration; these hooks do the rest.
 *
 * T1 An act is recorded before it is done: one that cannot be recorded is refused with `audit.unavailable`, and none is
 *    done without an entry. An act that fails afterwards has a second entry with the code, under the same request.
 * T2 Whoever may not act leaves no `allowed` entry: the act's scope is checked first.
 * T3 Denials are counted (see `runtime/denials.ts`): a request that was refused never waits for the trail.
 */
import type { FastifyRequest } from "fastify";
import type { Act, ActName, AuditActor } from "../protocols/audit.ts";
import { BerthError, type ErrorCode } from "../protocols/errors.ts";
import { PLATFORM_TENANT } from "../protocols/ids.ts";
import type { RouteGroup } from "../protocols/isolation.ts";
import type { Principal } from "./auth/principal.ts";
import { type RouteAction, reachesTenant, requireRoute } from "./auth/scopes.ts";
import { type App, principalOf } from "./routes/app.ts";
import type { Services } from "./services.ts";

/** A route's act. */
export interface AuditedRoute {
  readonly act: ActName;
  /** What the policy is asked about: may the caller do this there (default action `write`)? */
  readonly group: RouteGroup;
  readonly action?: RouteAction;
  /** Whose chain it goes to (default: the tenant that the request names, else the caller's, else the platform's). */
  readonly tenant?: string | undefined;
  /** Short facts that are no secret. */
  readonly detail?: Readonly<Record<string, string>>;
}

/** A function gives undefined for a request that is no act, such as a user's on its own job. */
type Ruled = AuditedRoute | undefined;
type AuditRule = AuditedRoute | ((request: FastifyRequest) => Ruled | Promise<Ruled>);

declare module "fastify" {
  interface FastifyContextConfig {
    /** The route's act: checked and recorded in front of its handler. */
    audit?: AuditRule;
  }
  interface FastifyRequest {
    /** The act that was recorded for this request. */
    audited: Act | null;
    /** Of the problem that answers it. */
    problemCode: ErrorCode | null;
  }
}

/** What counts as a denial. */
export const DENIED_CODES: ReadonlySet<string> = new Set([
  "auth.missing",
  "auth.invalid",
  "auth.expired",
  "auth.forbidden",
  "tenant.suspended",
] satisfies ErrorCode[]);

/** Before the handler, once the caller is known and the request is valid. */
export function addAuditHooks(app: App, services: Services): void {
  app.addHook("preHandler", async (request) => {
    const route = request.principal && (await routeOf(request));
    if (route) await recordAct(services, request, route);
  });
  app.addHook("onSend", async (request, reply, payload) => {
    const { audited, problemCode } = request;
    if (!audited || reply.statusCode < 400) return payload;
    request.audited = null;
    const code = problemCode ?? "internal.unexpected";
    const outcome = DENIED_CODES.has(code) ? "denied" : "allowed";
    await services.audit.record({ ...audited, outcome, code }).catch((thrown: unknown) => {
      services.logger.error({ err: thrown, request: request.id }, "a failed act was not recorded");
    });
    return payload;
  });
}

/** For a route that knows only in its handler whose chain its act goes to. Rejects when it may not be done. */
export async function recordAct(
  services: Services,
  request: FastifyRequest,
  route: AuditedRoute,
): Promise<void> {
  const principal = principalOf(request);
  checkReach(services, request, principal, route); // T2
  const { act, detail } = route;
  const tenant = route.tenant ?? decideChain(principal, namedTenant(request));
  const told = { ...aboutRequest(request), tenant, act, outcome: "allowed" as const };
  const entry = detail === undefined ? told : { ...told, detail };
  await services.audit.record(entry); // T1
  request.audited = entry;
}

/** T3. */
export function noteDenial(
  { denials }: Pick<Services, "denials">,
  request: FastifyRequest,
  code: ErrorCode,
): void {
  if (!DENIED_CODES.has(code) || request.audited) return;
  const { principal } = request;
  const tenant = principal?.tenant ?? PLATFORM_TENANT;
  const act = principal ? "api.denied" : "auth.refused";
  denials.note({ ...aboutRequest(request), tenant, act, outcome: "denied", code });
}

function routeOf(request: FastifyRequest): Ruled | Promise<Ruled> {
  const { audit } = request.routeOptions.config;
  return typeof audit === "function" ? audit(request) : audit;
}

/** Throws `auth.forbidden`; another tenant does not exist for who may not reach it. */
function checkReach(
  services: Services,
  request: FastifyRequest,
  principal: Principal,
  { action = "write", group }: AuditedRoute,
): void {
  requireRoute(principal, group, action);
  const tenant = tenantOfPath(request);
  if (tenant === undefined || reachesTenant(principal, group, action, tenant)) return;
  noteDenial(services, request, "auth.forbidden");
  throw new BerthError("tenant.not_found");
}

/**
 * Users' acts on what is their own are their own affair. `ownerOf` finds the tenant that an operator did not name, and rejects
 * when there is nothing to act on.
 */
export function onOthers(
  route: AuditedRoute,
  ownerOf: (request: FastifyRequest) => Promise<string>,
): AuditRule {
  return async (request) => {
    const { principal } = request;
    if (!principal || principal.scope === "user") return undefined;
    if (principal.tenant !== null || namedTenant(request) !== undefined) return route;
    return { ...route, tenant: await ownerOf(request) };
  };
}

/** The chain of an act: whom an operator acts on, else the caller's own tenant. Pure. */
function decideChain(principal: Principal, named: string | undefined): string {
  return principal.tenant ?? named ?? PLATFORM_TENANT;
}

/** The tenant that a request names, in its path, query or body. */
function namedTenant(request: FastifyRequest): string | undefined {
  const { body, query } = request;
  const inQuery = (query as { tenant?: unknown } | null)?.tenant;
  const inBody = (body as { tenant?: unknown } | null | undefined)?.tenant;
  const named = [tenantOfPath(request), inQuery, inBody];
  return named.find((value): value is string => typeof value === "string");
}

function tenantOfPath({ params, routeOptions }: FastifyRequest): string | undefined {
  const { id, tenant } = params as { id?: string; tenant?: string };
  return routeOptions.url?.startsWith("/v1/tenants/:id") ? id : tenant;
}

function aboutRequest(
  request: FastifyRequest,
): Pick<Act, "actor" | "target" | "request" | "source"> {
  const { principal } = request;
  const path = request.url.split("?")[0] ?? "";
  return {
    actor: principal ? actorOf(principal) : NOBODY,
    // Of a route that is not there the path is a stranger's own text.
    target: `${request.method} ${request.routeOptions.url === undefined ? "-" : path.slice(0, 256)}`,
    request: request.id,
    source: request.ip,
  };
}

/** Without a valid credential. */
export const NOBODY: AuditActor = { tenant: null, user: "-", scope: "none", key: null };

export function actorOf({ keyId, scope, tenant, user }: Principal): AuditActor {
  return { tenant, user, scope, key: keyId ?? null };
}
