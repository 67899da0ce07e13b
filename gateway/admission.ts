/** Who comes in, and how often: the credential, strangers' count, and the caller's own limit. */
import type { FastifyReply, FastifyRequest } from "fastify";
import { asBerthError } from "../protocols/errors.ts";
import type { Tier } from "../protocols/tiers.ts";
import { type Principal, requireTenant } from "./auth/principal.ts";
import type { PermitStanding } from "./limits/permit-purse.ts";
import { requestHeaders } from "./rate-headers.ts";
import type { Services } from "./services.ts";

/** Rejects as `Access.authenticate` does, and with `request.rate_limited` from an address that failed too often. */
export async function identify(
  { access, strangers }: Pick<Services, "access" | "strangers">,
  source: string,
  token: () => string | undefined,
): Promise<Principal> {
  const isOver = strangers.isOver(source);
  try {
    return await access.authenticate(token(), { isKnownOnly: isOver });
  } catch (thrown) {
    if (asBerthError(thrown).status !== 401) throw thrown;
    strangers.count(source);
    throw isOver ? strangers.refusal() : thrown;
  }
}

/** Takes a permit of the caller's; undefined for operators, who have no limit. */
export async function takePermit(
  services: Pick<Services, "access" | "limiter">,
  principal: Principal,
): Promise<PermitStanding | undefined> {
  if (principal.tenant === null) return undefined;
  const tier = await tierOf(services, principal);
  return tier && (await services.limiter.take(requireTenant(principal), tier));
}

/** In front of every route under `/v1`. */
export async function admitRequest(
  services: Services,
  request: FastifyRequest,
  reply: FastifyReply,
  token: () => string | undefined,
): Promise<void> {
  request.principal = await identify(services, request.ip, token);
  const standing = await takePermit(services, request.principal);
  if (standing) reply.headers(requestHeaders(standing));
}

/** The tier that the principal's tenant has now; undefined for operators. */
export async function tierOf(
  { access }: Pick<Services, "access">,
  principal: Principal,
): Promise<Tier | undefined> {
  return (await access.tenantOf(principal))?.tier;
}
