/**
 * Makes workers' credentials. Invariants:
 * I1 a worker's key follows from the issuer's key and the worker's id: any node that has the issuer's key can renew and
 *    revoke what another has issued, and nothing of a credential is stored.
 * I2 a token names the worker and the account; what it may is in the account, under the issuer's key.
 */
import { createHmac } from "node:crypto";
import type { BrokerCredential } from "../../protocols/executor.ts";
import type { Clock } from "../clock.ts";
import { userClaims } from "./claims.ts";
import { signClaims } from "./jwt.ts";
import { Nkey } from "./nkey.ts";

const SECOND_MS = 1_000;

export interface IssuerOptions {
  /** The newest key first; older ones are on their way out. Asked each time. */
  readonly keys: () => readonly [Nkey, ...Nkey[]];
  readonly ttlMs: number;
  readonly clock: Clock;
}

export class CredentialIssuer {
  readonly ttlMs: number;
  readonly #options: IssuerOptions;

  constructor(options: IssuerOptions) {
    this.#options = options;
    this.ttlMs = options.ttlMs;
  }

  /** The public key that signs now. */
  get publicKey(): string {
    return this.#options.keys()[0].publicKey;
  }

  /** `account` is the account's public key. I2. */
  issue(worker: string, account: string): BrokerCredential {
    const { clock, keys } = this.#options;
    const [issuer] = keys();
    const user = userKey(issuer, worker);
    const issuedAt = Math.floor(clock.now() / SECOND_MS);
    const claims = userClaims({
      ...{ publicKey: user.publicKey, name: worker, account },
      rights: undefined,
      expires: issuedAt + Math.ceil(this.ttlMs / SECOND_MS),
    });
    return { jwt: signClaims(claims, issuer, issuedAt), seed: user.seed };
  }

  /** Public keys under which the worker may hold a credential. */
  usersOf(worker: string): string[] {
    return this.#options.keys().map((issuer) => userKey(issuer, worker).publicKey);
  }
}

/** I1. */
function userKey(issuer: Nkey, worker: string): Nkey {
  const secret = createHmac("sha256", issuer.secret).update(`berth worker ${worker}`).digest();
  return Nkey.of("user", secret);
}
