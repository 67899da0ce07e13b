/** Accounts and rights of workers: what the isolation policy says of them, as claims. A pure projection. */
import { ANY_ONE, type Policy } from "../../protocols/isolation.ts";
import { ISOLATION_POLICY } from "../../protocols/isolation-policy.ts";
import type { Tier } from "../../protocols/tiers.ts";
import { inboxPrefix, NODE_INBOX, natsPermissions } from "../isolation/nats-permissions.ts";
import { type AccountClaims, accountClaims, type Share, type UserRights } from "./claims.ts";
import type { Claims } from "./jwt.ts";

/** In a scoped key's template: the server puts the user's name there, which is the worker's id, or the gateway's. */
export const OWN_NAME = "{{name()}}";
/** One for orders, one for answers, and room for those of a connection that is being replaced. */
const SUBSCRIPTIONS = 8;
/** A frame has 256 KiB of events at most, and a status less. */
const PAYLOAD_BYTES = 512 * 1024;
/** An order is answered at once; so late an answer has no asker any more. */
const ANSWER_WITHIN_MS = 60_000;

/** Connections that an account may have: each worker has one, and two while it changes its credential. */
const CONNECTIONS = { shared: 65_536, tenant: 1_024 } as const;

/** The account of workers that tenants share. */
export const SHARED_ACCOUNT = "shared";

/** Keys of the accounts bucket. Only enterprise tenants have an account of their own. */
export function accountName(worker: { readonly tenant: string; readonly tier: Tier }): string {
  return worker.tier === "enterprise" ? tenantAccount(worker.tenant) : SHARED_ACCOUNT;
}

export const tenantAccount = (tenant: string) => `tenant.${tenant}`;

/** Stands in the token of an account that was removed. */
export const REMOVED_TAG = "removed";

/** The rights of whom the issuer's key signs: each under its own name. */
export function workerRights(policy: Policy = ISOLATION_POLICY): UserRights {
  const { publish, subscribe, answers } = natsPermissions(policy, {
    kind: "container",
    id: OWN_NAME,
  });
  return {
    publish,
    subscribe,
    ...(answers ? { answers: { max: 1, withinMs: ANSWER_WITHIN_MS } } : {}),
    subscriptions: SUBSCRIPTIONS,
    payloadBytes: PAYLOAD_BYTES,
    connectionTypes: ["STANDARD"],
  };
}

/**
 * What the platform's account exports and every worker account imports: what workers say, what they are told, and their
 * answers, which go to the inbox of the node or the gateway that asked.
 */
export function workerShares(policy: Policy = ISOLATION_POLICY): readonly Share[] {
  const { publish, subscribe, answers } = natsPermissions(policy, {
    kind: "container",
    id: ANY_ONE,
  });
  const askers = [NODE_INBOX, inboxPrefix({ kind: "gateway", id: ANY_ONE })];
  const said = answers ? [...publish, ...askers.map((inbox) => `${inbox}.>`)] : publish;
  return [
    ...said.map((subject) => ({ kind: "service" as const, subject })),
    // Its inbox lies in its own account.
    ...subscribe
      .filter((subject) => !subject.startsWith("_INBOX"))
      .map((subject) => ({ kind: "stream" as const, subject })),
  ];
}

export interface WorkerAccount {
  readonly name: string;
  readonly publicKey: string;
  readonly isSuspended: boolean;
  readonly revocations: Readonly<Record<string, number>>;
  /** Of its record: shows which of two tokens is the newer. */
  readonly revision: number;
}

export function workerAccountClaims(
  account: WorkerAccount,
  keys: { readonly platform: string; readonly issuers: readonly string[] },
): Claims {
  const rights = workerRights();
  const kind = account.name === SHARED_ACCOUNT ? "shared" : "tenant";
  const claims: AccountClaims = {
    publicKey: account.publicKey,
    name: account.name,
    limits: {
      // None closes those that are there, and lets them back when there may be some again.
      connections: account.isSuspended ? 0 : CONNECTIONS[kind],
      subscriptions: SUBSCRIPTIONS,
      payloadBytes: PAYLOAD_BYTES,
      jetstream: false,
    },
    signingKeys: [],
    scopedKeys: keys.issuers.map((publicKey) => ({ publicKey, role: "worker", rights })),
    imports: workerShares().map((share) => ({ ...share, account: keys.platform })),
    revocations: account.revocations,
    tags: [`revision:${account.revision}`],
  };
  return accountClaims(claims);
}

/** What is told of an account that was removed: nobody's token counts there, and nobody may connect. */
export function removedAccountClaims(name: string, publicKey: string): Claims {
  return accountClaims({
    ...{ publicKey, name, signingKeys: [], tags: [REMOVED_TAG] },
    limits: { connections: 0, subscriptions: 0, payloadBytes: 0, jetstream: false },
  });
}
