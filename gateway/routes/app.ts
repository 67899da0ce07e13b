/** The fastify types that all routes share, and what a request carries. */
import type {
  FastifyBaseLogger,
  FastifyInstance,
  FastifyRequest,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { BerthError } from "../../protocols/errors.ts";
import type { Span } from "../../runtime/tracing.ts";
import { type Principal, requireTenant } from "../auth/principal.ts";

import type { Reservation } from "../idempotency.ts";
import type { Services } from "../services.ts";
import type { Caller } from "../submission.ts";

export type App = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  ZodTypeProvider
>;

declare module "fastify" {
  interface FastifyRequest {
    /** Set by the hook of authenticated routes. */
    principal: Principal | null;
    /** Set while an `Idempotency-Key` is reserved for this request. */
    reservation: Reservation | null;
    /** What the ids that it makes are made of, once it needs one. */
    seed: string | undefined;
    startedAt: number;
    /** Its trace; null when there are none. */
    span: Span | null;
  }
}

/** Who a request on an authenticated route acts for. */
export function principalOf(request: FastifyRequest): Principal {
  if (request.principal) return request.principal;
  throw new BerthError("auth.missing");
}

/** As `principalOf`, of a tenant, with the tier that the tenant has now. */
export async function callerOf(services: Services, principal: Principal): Promise<Caller> {
  const inTenant = requireTenant(principal);
  const tenant = await services.access.tenantOf(inTenant);
  if (!tenant) throw new BerthError("tenant.not_found");
  return { principal: inTenant, tier: tenant.tier };
}
