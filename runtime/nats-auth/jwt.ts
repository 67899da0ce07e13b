/** JSON web tokens as nats-server takes them: claims signed by an nkey. */
import { createHash } from "node:crypto";
import { BerthError } from "../../protocols/errors.ts";
import { encodeBase32 } from "./base32.ts";
import type { Nkey } from "./nkey.ts";

export interface Claims {
  /** Public key of whom the claims are about. */
  readonly sub: string;
  readonly name: string;
  /** Seconds since the epoch; without it they never expire. */
  readonly exp?: number;
  readonly nats: Readonly<Record<string, unknown>>;
}

export interface SignedClaims extends Claims {
  readonly iss: string;
  readonly iat: number;
}

const HEADER = encode({ typ: "JWT", alg: "ed25519-nkey" });

export function signClaims(claims: Claims, signer: Nkey, iat: number): string {
  const body = { ...claims, iss: signer.publicKey, iat };
  const jti = encodeBase32(createHash("sha512-256").update(JSON.stringify(body)).digest());
  const signed = `${HEADER}.${encode({ ...body, jti })}`;
  return `${signed}.${signer.sign(signed).toString("base64url")}`;
}

/** What a token says; who signed it is not checked. Throws `config.invalid`. */
export function readClaims(token: string): SignedClaims {
  try {
    const [, body = ""] = token.split(".");
    return JSON.parse(Buffer.from(body, "base64url").toString("utf8")) as SignedClaims;
  } catch {
    throw new BerthError("config.invalid", "not a token of NATS");
  }
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}
