/** JSON Web Tokens: HS256 with a shared secret (and the one before it, while it is changed), or a JWKS, through jose. */
import {
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  type JWTVerifyOptions,
  jwtVerify,
} from "jose";
import { z } from "zod";
import { BerthError } from "../../protocols/errors.ts";
import { idSchema, tenantIdSchema } from "../../protocols/ids.ts";
import { scopeSchema } from "../../protocols/records.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { JwtConfig } from "../config.ts";
import type { Principal } from "./principal.ts";
import { publishedKeys } from "./published-keys.ts";

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
  const { keys, algorithms } = keysOf(config, clock);
  const toleranceS = (config.skewMs ?? DEFAULT_SKEW_MS) / 1_000;
  return async (token) => {
    try {
      const payload = await verifyAny(token, keys, {
        algorithms,
        clockTolerance: toleranceS,
        currentDate: new Date(clock.now()),
        requiredClaims: ["exp", "sub"],
        ...(config.issuer === undefined ? {} : { issuer: config.issuer }),
        ...(config.audience === undefined ? {} : { audience: config.audience }),
      });
      return principalOf(payload, toleranceS);
    } catch (thrown) {
      throw jwtError(thrown);
    }
  };
}

type VerifyKey = Uint8Array | JWTVerifyGetKey;

/** The next key is tried only when the signature is not of this one. */
async function verifyAny(
  token: string,
  [key, ...others]: readonly VerifyKey[],
  options: JWTVerifyOptions,
): Promise<JWTPayload> {
  if (key === undefined) throw new BerthError("auth.invalid");
  try {
    const verified =
      typeof key === "function"
        ? await jwtVerify(token, key, options)
        : await jwtVerify(token, key, options);
    return verified.payload;
  } catch (thrown) {
    if (others.length === 0 || !(thrown instanceof errors.JWSSignatureVerificationFailed))
      throw thrown;
    return await verifyAny(token, others, options);
  }
}

function keysOf(
  config: JwtConfig,
  clock: Clock,
): { keys: readonly VerifyKey[]; algorithms: string[] } {
  const { jwksUrl, previousSecret, secret } = config;
  if (secret !== undefined && jwksUrl !== undefined) {
    throw new BerthError("config.invalid", "JWT takes one of a secret and a JWKS, not both");
  }
  if (secret !== undefined) {
    const secrets = previousSecret === undefined ? [secret] : [secret, previousSecret];
    return { keys: secrets.map((each) => new TextEncoder().encode(each)), algorithms: ["HS256"] };
  }
  if (jwksUrl !== undefined) {
    const keys = publishedKeys(new URL(jwksUrl), clock, config.published);
    return { keys: [keys], algorithms: JWKS_ALGORITHMS };
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
    // An operator belongs to no tenant, whatever else the token says.
    tenant: scope === "operator" ? null : (tenant ?? null),
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
