/** A nats-server in operator mode with a node's connection, a keeper of accounts, and workers that are only connections. */
import { connect, type NatsConnection } from "@nats-io/transport-node";
import type { OperatorKeys } from "../../deploy/nats/auth/operator-keys.ts";
import type { BrokerCredential } from "../../protocols/executor.ts";
import type { Tier } from "../../protocols/tiers.ts";
import { systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { noMetrics } from "../../runtime/metrics.ts";
import { systemAccountServer } from "../../runtime/nats/system-account.ts";
import { connectNats, type NatsTransport } from "../../runtime/nats/transport.ts";
import { AccountKeeper, type KeeperOptions } from "../../runtime/nats-auth/account-keeper.ts";
import type { ClaimsServer } from "../../runtime/nats-auth/account-publisher.ts";
import { authenticatorOf } from "../../runtime/nats-auth/credential.ts";
import { CredentialIssuer } from "../../runtime/nats-auth/credential-issuer.ts";
import { accountName } from "../../runtime/nats-auth/worker-account.ts";
import { type OperatorNats, startOperatorNats } from "./nats.ts";

export interface RigWorker {
  readonly id: string;
  readonly account: string;
  readonly credential: BrokerCredential;
  readonly nc: NatsConnection;
}

/** What the rig needs of its server. */
export type RigNats = Pick<OperatorNats, "keys" | "broker" | "url"> & AsyncDisposable;

export interface OperatorRig<N extends RigNats = OperatorNats> extends AsyncDisposable {
  readonly nats: N;
  /** With the platform's credential. */
  readonly node: NatsConnection;
  readonly transport: NatsTransport;
  readonly server: ClaimsServer;
  readonly issuer: CredentialIssuer;
  readonly keeper: AccountKeeper;
  /** Another keeper of the same accounts, as another node has. */
  anotherKeeper(other?: Partial<KeeperOptions> & { readonly keys?: OperatorKeys }): AccountKeeper;
  worker(id: string, owner?: { readonly tenant: string; readonly tier: Tier }): Promise<RigWorker>;
  /** `at` another server of the same operator. */
  dial(credential: BrokerCredential, inboxPrefix: string, at?: string): Promise<NatsConnection>;
}

const POOL = { tenant: "platform", tier: "free" } as const;

export async function operatorRig({ ttlMs = 600_000 } = {}): Promise<OperatorRig> {
  return await operatorRigOn(await startOperatorNats(), { ttlMs });
}

/** The server ends with the rig. */
export async function operatorRigOn<N extends RigNats>(
  nats: N,
  {
    ttlMs = 600_000,
    replicas = 1,
    serverTags = [],
  }: { ttlMs?: number; replicas?: number; serverTags?: readonly string[] } = {},
): Promise<OperatorRig<N>> {
  const { keys, broker, url } = nats;
  const open: NatsConnection[] = [];
  const dial = async (credential: BrokerCredential, inboxPrefix: string, at = url) => {
    const nc = await connect({
      servers: at.split(",").map((one) => new URL(one).host),
      authenticator: authenticatorOf(() => credential),
      inboxPrefix,
      // Who is refused by the one that is asked is not let in by another that it tells of.
      ignoreClusterUpdates: true,
      reconnect: false,
    });
    open.push(nc);
    return nc;
  };
  const transport = await connectNats({
    ...{ url, name: "rig", clock: systemClock, logger: silentLogger },
    credential: broker.credential,
    topology: {
      replicas,
      serverTags,
      partitions: 2,
      mailboxCapacity: 100,
      journalRetentionMs: 3_600_000,
    },
  });
  const server = await systemAccountServer({
    ...{ url, name: "rig", credential: () => keys.credential("system") },
  });
  const issuer = new CredentialIssuer({
    ...{ keys: () => keys.all("issuer"), ttlMs, clock: systemClock },
  });
  const makeKeeper: OperatorRig["anotherKeeper"] = ({ keys: own = keys, ...other } = {}) => {
    const itsIssuer = new CredentialIssuer({
      ...{ keys: () => own.all("issuer"), ttlMs, clock: systemClock },
    });
    return new AccountKeeper({
      ...{ buckets: transport.buckets, server, ttlMs },
      ...{ clock: systemClock, logger: silentLogger, metrics: noMetrics },
      platform: keys.get("platform").publicKey,
      signer: () => own.get("operator-signing"),
      issuers: () => own.all("issuer").map(({ publicKey }) => publicKey),
      usersOf: (worker) => itsIssuer.usersOf(worker),
      ...other,
    });
  };
  const keeper = makeKeeper();
  return {
    ...{ nats, transport, server, issuer, keeper, dial },
    node: await dial(broker.credential?.() ?? keys.credential("platform"), "_INBOX_node"),
    anotherKeeper: makeKeeper,
    async worker(id, owner = POOL) {
      const account = accountName(owner);
      const credential = issuer.issue(id, await keeper.ensure(account));
      const nc = await dial(credential, `_INBOX_worker.${id}`);
      return { id, account, credential, nc };
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(open.map((nc) => nc.close()));
      await server.close();
      await transport.close();
      await nats[Symbol.asyncDispose]();
    },
  };
}
