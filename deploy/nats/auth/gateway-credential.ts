/**
 * A gateway's own credential: what the isolation policy lets it do, and no more. Its rights are too many for a token, which
 * must fit into the line with which a client connects: they stand in the platform's account, under the key that signs gateways.
 */
import type { BrokerCredential } from "../../../protocols/executor.ts";
import { ISOLATION_POLICY } from "../../../protocols/isolation-policy.ts";
import { inboxPrefix, natsPermissions } from "../../../runtime/isolation/nats-permissions.ts";
import { type UserRights, userClaims } from "../../../runtime/nats-auth/claims.ts";
import { readClaims, signClaims } from "../../../runtime/nats-auth/jwt.ts";
import { Nkey } from "../../../runtime/nats-auth/nkey.ts";
import { OWN_NAME } from "../../../runtime/nats-auth/worker-account.ts";
import type { OperatorKeys } from "./operator-keys.ts";

export function gatewayRights(): UserRights {
  const gateway = { kind: "gateway", id: OWN_NAME } as const;
  const { publish, subscribe } = natsPermissions(ISOLATION_POLICY, gateway);
  return { publish, subscribe };
}

/** `id` names the gateway among others: answers to it come where no other may listen. */
export function gatewayCredential(keys: OperatorKeys, id: string, iat: number): BrokerCredential {
  const user = Nkey.make("user");
  const claims = userClaims({
    ...{ publicKey: user.publicKey, name: id, account: keys.get("platform").publicKey },
    rights: undefined,
  });
  return { jwt: signClaims(claims, keys.get("gateway-signing"), iat), seed: user.seed };
}

/** Where answers to the owner of a gateway's credential come. */
export function gatewayInbox(credential: BrokerCredential): string {
  return inboxPrefix({ kind: "gateway", id: readClaims(credential.jwt).name });
}
