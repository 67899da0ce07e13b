/** JSON Web Tokens for tests: shared secrets, key pairs, and a server of their public keys that can fail. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from "jose";

export const SECRET = "a secret of at least thirty-two characters";

/** A claim given as `undefined` is left out. */
export type Claims = Readonly<Record<string, unknown>>;

export interface TokenOptions {
  readonly alg?: string;
  readonly kid?: string;
  readonly claims?: Claims;
}

type Key = Parameters<SignJWT["sign"]>[0];

/** A token of user `ann` of tenant `t-pro`, unless the claims say otherwise. */
export function sign(key: Key, { alg = "HS256", kid, claims = {} }: TokenOptions): Promise<string> {
  const all = { tenant: "t-pro", sub: "ann", ...claims };
  const given = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  return new SignJWT(given)
    .setProtectedHeader(kid === undefined ? { alg } : { alg, kid })
    .sign(key);
}

export const signSecret = (claims: Claims, secret = SECRET): Promise<string> =>
  sign(new TextEncoder().encode(secret), { claims });

/** A token by hand: what no library would sign. */
export function forge(header: object, claims: object, signature = ""): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part(header)}.${part(claims)}.${signature}`;
}

export interface KeyServer extends AsyncDisposable {
  readonly url: string;
  /** Requests answered so far. */
  readonly asked: () => number;
  /** From now on every answer is a 500, until `recover`. */
  fail(): void;
  recover(): void;
  /** Publishes it no more. */
  withdraw(kid: string): void;
  /** Makes a pair, publishes its public half, and returns what signs with it. */
  add(kid: string, alg: string): Promise<{ readonly key: CryptoKey; readonly jwk: JWK }>;
}

export async function startKeyServer(): Promise<KeyServer> {
  const keys: JWK[] = [];
  let count = 0;
  let isBroken = false;
  const server = createServer((_request, response) => {
    count += 1;
    response.writeHead(isBroken ? 500 : 200, { "content-type": "application/json" });
    response.end(isBroken ? "" : JSON.stringify({ keys }));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks.json`,
    asked: () => count,
    fail() {
      isBroken = true;
    },
    recover() {
      isBroken = false;
    },
    withdraw(kid) {
      keys.splice(
        keys.findIndex((key) => key.kid === kid),
        1,
      );
    },
    async add(kid, alg) {
      const pair = await generateKeyPair(alg, { extractable: true });
      const jwk: JWK = { ...(await exportJWK(pair.publicKey)), kid, alg, use: "sig" };
      keys.push(jwk);
      return { key: pair.privateKey, jwk };
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
