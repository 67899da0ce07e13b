/**
 * The public keys that an identity provider publishes (JWKS), as they are now.
 *
 * P1 A key that is not published any more is refused after `freshMs` at the latest, as long as the provider answers.
 * P2 A key that is not known is asked for at once, but not more often than `cooldownMs` allows: whoever invents key ids
 *    costs the provider nothing.
 * P3 While the provider does not answer, the keys that it published last hold for `staleMs`.
 */
import {
  createLocalJWKSet,
  errors,
  type FlattenedJWSInput,
  type JSONWebKeySet,
  type JWTHeaderParameters,
  type JWTVerifyGetKey,
} from "jose";
import { asBerthError, BerthError } from "../../protocols/errors.ts";
import type { Clock } from "../../runtime/clock.ts";

export interface PublishedKeysOptions {
  readonly freshMs?: number;
  readonly cooldownMs?: number;
  readonly staleMs?: number;
}

const FRESH_MS = 60_000;
const COOLDOWN_MS = 5_000;
const STALE_MS = 3_600_000;
const FETCH_MS = 5_000;
const MAX_BYTES = 1024 ** 2;

/** Rejects with `auth.unavailable` when there are no keys that may still be used. */
export function publishedKeys(
  url: URL,
  clock: Clock,
  options: PublishedKeysOptions = {},
): JWTVerifyGetKey {
  const { cooldownMs = COOLDOWN_MS, freshMs = FRESH_MS, staleMs = STALE_MS } = options;
  let known:
    | { readonly find: ReturnType<typeof createLocalJWKSet>; readonly at: number }
    | undefined;
  let triedAt = Number.NEGATIVE_INFINITY;
  let fetching: Promise<void> | undefined;
  let failure: unknown;

  const age = () => (known ? clock.monotonic() - known.at : Number.POSITIVE_INFINITY);
  const refresh = async () => {
    triedAt = clock.monotonic();
    try {
      known = { find: createLocalJWKSet(await fetchKeys(url)), at: clock.monotonic() };
      failure = undefined;
    } catch (thrown) {
      failure = thrown;
    }
  };
  const fresher = async () => {
    if (!fetching && clock.monotonic() - triedAt < cooldownMs) return;
    fetching ??= refresh().finally(() => {
      fetching = undefined;
    });
    // Who is known to be away is waited for by nobody.
    if (!known || failure === undefined) await fetching;
  };
  const find = (header: JWTHeaderParameters, token: FlattenedJWSInput) => {
    if (known && age() < freshMs + staleMs) return known.find(header, token);
    throw new BerthError("auth.unavailable", undefined, { cause: failure });
  };

  return async (header, token) => {
    if (age() >= freshMs) await fresher(); // P1, P3
    try {
      return await find(header, token);
    } catch (thrown) {
      if (!(thrown instanceof errors.JWKSNoMatchingKey)) throw thrown;
      await fresher(); // P2
      return await find(header, token);
    }
  };
}

async function fetchKeys(url: URL): Promise<JSONWebKeySet> {
  try {
    const answer = await fetch(url, {
      headers: { accept: "application/jwk-set+json, application/json" },
      redirect: "error",
      signal: AbortSignal.timeout(FETCH_MS),
    });
    if (!answer.ok) throw new Error(`the key server answered ${answer.status}`);
    const text = await answer.text();
    if (text.length > MAX_BYTES) throw new Error("the key server's answer is too large");
    return JSON.parse(text) as JSONWebKeySet;
  } catch (thrown) {
    throw asBerthError(thrown, "auth.unavailable");
  }
}
