/** What one user of a nats-server connects with: a token that says who it is, and the key that proves it. */
import { BerthError } from "../../protocols/errors.ts";
import type { BrokerCredential } from "../../protocols/executor.ts";
import { readClaims } from "./jwt.ts";
import { Nkey } from "./nkey.ts";

/** What the client library sends in answer to the server's nonce. */
export interface Proof {
  readonly jwt: string;
  readonly nkey: string;
  readonly sig: string;
}

/** The option `authenticator` of the client library. Asks for the credential at every connect, so that a newer one counts. */
export function authenticatorOf(current: () => BrokerCredential): (nonce?: string) => Proof {
  let known: { readonly seed: string; readonly key: Nkey } | undefined;
  return (nonce = "") => {
    const { jwt, seed } = current();
    if (known?.seed !== seed) known = { seed, key: Nkey.parse(seed) };
    const { key } = known;
    return { jwt, nkey: key.publicKey, sig: key.sign(nonce).toString("base64url") };
  };
}

/** The account in which the credential's owner is. */
export function accountOf({ jwt }: BrokerCredential): string {
  const { iss, nats } = readClaims(jwt);
  const account = nats["issuer_account"];
  return typeof account === "string" ? account : iss;
}

/** Who signed it, and when it expires (milliseconds since the epoch). Undefined: never. */
export function validityOf({
  jwt,
}: BrokerCredential): { readonly issuer: string; readonly expires_at: number } | undefined {
  const { iss, exp } = readClaims(jwt);
  return exp === undefined ? undefined : { issuer: iss, expires_at: exp * 1_000 };
}

const BLOCK = /-{3,}BEGIN [^\n]*-{3,}\s*\n([\s\S]*?)\n\s*-{3,}END [^\n]*-{3,}/g;

/** As the stock tools read it: the option `--creds` of `nats`. */
export function formatCredsFile({ jwt, seed }: BrokerCredential): string {
  return `-----BEGIN NATS USER JWT-----
${jwt}
------END NATS USER JWT------

This file holds a secret. Whoever has it can do what its owner can.

-----BEGIN USER NKEY SEED-----
${seed}
------END USER NKEY SEED------
`;
}

/** Throws `config.invalid`, which never holds what was read. */
export function parseCredsFile(text: string): BrokerCredential {
  const [jwt, seed] = [...text.matchAll(BLOCK)].map((match) => (match[1] ?? "").trim());
  if (jwt && seed) return { jwt, seed };
  throw new BerthError(
    "config.invalid",
    "not a file of NATS credentials: it needs a token and a seed",
  );
}
