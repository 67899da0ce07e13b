/** The lines of a `nats.conf` that put a server in operator mode: its operator, its own accounts, and where others are kept. */
import { accountClaims, operatorClaims } from "../../../runtime/nats-auth/claims.ts";
import { signClaims } from "../../../runtime/nats-auth/jwt.ts";
import { workerShares } from "../../../runtime/nats-auth/worker-account.ts";
import { gatewayRights } from "./gateway-credential.ts";
import type { OperatorKeys } from "./operator-keys.ts";

function operatorToken(keys: OperatorKeys, iat: number): string {
  const claims = operatorClaims({
    publicKey: keys.get("operator").publicKey,
    signingKeys: keys.all("operator-signing").map(({ publicKey }) => publicKey),
    systemAccount: keys.get("system").publicKey,
  });
  return signClaims(claims, keys.get("operator"), iat);
}

/** The two accounts that are always there, as tokens by their public keys. */
export function fixedAccounts(keys: OperatorKeys, iat: number): ReadonlyMap<string, string> {
  const signing = (name: "system-signing" | "platform-signing" | "gateway-signing") =>
    keys.all(name).map(({ publicKey }) => publicKey);
  const claims = [
    accountClaims({
      publicKey: keys.get("system").publicKey,
      name: "SYS",
      limits: { jetstream: false, leaves: true },
      signingKeys: signing("system-signing"),
    }),
    accountClaims({
      publicKey: keys.get("platform").publicKey,
      name: "PLATFORM",
      limits: { jetstream: true, leaves: true },
      signingKeys: signing("platform-signing"),
      scopedKeys: signing("gateway-signing").map((publicKey) => ({
        ...{ publicKey, role: "gateway", rights: gatewayRights() },
      })),
      exports: workerShares(),
    }),
  ];
  const signer = keys.get("operator-signing");
  return new Map(claims.map((claim) => [claim.sub, signClaims(claim, signer, iat)]));
}

/** Workers' accounts are told to the running server and kept in `accountsFolder`, which is written as it is given. */
export function operatorModeLines(
  keys: OperatorKeys,
  accountsFolder: string,
  iat: number,
): string[] {
  return [
    `operator: ${operatorToken(keys, iat)}`,
    `system_account: ${keys.get("system").publicKey}`,
    "resolver {",
    "  type: full",
    `  dir: ${accountsFolder}`,
    "  allow_delete: true",
    // A server that comes back asks the others first after so long what it has missed: until then whom they have put out
    // meanwhile comes in here. The server's own default is a minute. It costs two small messages each time.
    '  interval: "1s"',
    "}",
    "resolver_preload {",
    ...[...fixedAccounts(keys, iat)].map(([account, token]) => `  ${account}: ${token}`),
    "}",
  ];
}
