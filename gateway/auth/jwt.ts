/** JSON Web Tokens: HS256 with a shared secret, or a JWKS, through jose. */
import { createRemoteJWKSet, errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from "jose";
import { z } from "zod";
import { BerthError } from "../../protocols/errors.ts";
import { idSchema, tenantIdSchema } from "../../protocols/ids.ts";
import { scopeSchema } from "../../protocols/records.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { JwtConfig } from "../config.ts";
import type { Principal } from "./principal.ts";

const DEFAULT_SKEW_MS = 5_000;
/** Asymmetric only: a public key must never be taken for a shared secret. */
const JWKS_ALGORITHMS = ["RS256", "PS256", "ES256", "ES384", "EdDSA"];

const claimsSchema = z.object({
  tenant: tenantIdSchema.optional(),
  sub: idSchema,
  scope: scopeSchema.default("user"),
  exp: z.number(),
});

export type JwtVerifier = (token: string) => Promise<Principal>;

/** Rejects with `auth.invalid`, `auth.expired`, or `auth.unavailable` when the published keys cannot be had. */
export function jwtVerifier(config: JwtConfig, clock: Clock): JwtVerifier {
  const { key, algorithms } = keyOf(config);
  const toleranceS = (config.skewMs ?? DEFAULT_SKEW_MS) / 1_000;
  return async (token) => {
    try {
      const options = {
        algorithms,
        clockTolerance: toleranceS,
        currentDate: new Date(clock.now()),
        requiredClaims: ["exp", "sub"],
        ...(config.issuer === undefined ? {} : { issuer: config.issuer }),
        ...(config.audience === undefined ? {} : { audience: config.audience }),
      };
      const { payload } =
        typeof key === "function"
          ? await jwtVerify(token, key, options)
          : await jwtVerify(token, key, options);
      return principalOf(payload, toleranceS);
    } catch (thrown) {
      throw jwtError(thrown);
    }
  };
}

function keyOf(config: JwtConfig): { key: Uint8Array | JWTVerifyGetKey; algorithms: string[] } {
  if (config.secret !== undefined && config.jwksUrl !== undefined) {
    throw new BerthError("config.invalid", "JWT takes one of a secret and a JWKS, not both");
  }
  if (config.secret !== undefined) {
    return { key: new TextEncoder().encode(config.secret), algorithms: ["HS256"] };
  }
  if (config.jwksUrl !== undefined) {
    return { key: createRemoteJWKSet(new URL(config.jwksUrl)), algorithms: JWKS_ALGORITHMS };
  }
  throw new BerthError("config.invalid", "JWT needs a secret or the URL of a JWKS");
}

function principalOf(payload: JWTPayload, toleranceS: number): Principal {
  const claims = claimsSchema.safeParse(payload);
  if (!claims.success) throw new BerthError("auth.invalid", "the token's claims are not valid");
  const { tenant, sub, scope, exp } = claims.data;
  if (tenant === undefined && scope !== "operator") {
    throw new BerthError("auth.invalid", "the token names no tenant");
  }
  return {
    tenant: tenant ?? null,
    user: sub,
    scope,
    keyHash: undefined,
    expiresAt: (exp + toleranceS) * 1_000,
  };
}

/** An outage of whoever publishes the keys says nothing of the token. */
function jwtError(thrown: unknown): BerthError {
  if (thrown instanceof BerthError) return thrown;
  if (thrown instanceof errors.JWTExpired) return new BerthError("auth.expired");
  const isAnswered = thrown instanceof errors.JOSEError && !OUTAGES.has(thrown.code);
  const code = isAnswered ? "auth.invalid" : "auth.unavailable";
  return new BerthError(code, undefined, { cause: thrown });
}

/** The library's codes for keys that did not come, or came as something else. */
const OUTAGES = new Set([errors.JOSEError.code, errors.JWKSTimeout.code, errors.JWKSInvalid.code]);
