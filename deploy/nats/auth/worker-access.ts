/** Composes how a node's workers get at the broker: what of the operator's keys the node has decides. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { WorkerConnection } from "../../../executor/drivers/driver.ts";
import type { WorkerCredentials } from "../../../executor/worker-credentials.ts";
import { BerthError } from "../../../protocols/errors.ts";
import type { WorkerSpec } from "../../../protocols/executor.ts";
import { systemAccountServer } from "../../../runtime/nats/system-account.ts";
import { AccountKeeper, type WorkerAccounts } from "../../../runtime/nats-auth/account-keeper.ts";
import { remoteAccounts, serveAccounts } from "../../../runtime/nats-auth/account-service.ts";
import { AccountWatch } from "../../../runtime/nats-auth/account-watch.ts";

import { accountOf } from "../../../runtime/nats-auth/credential.ts";
import { CredentialIssuer } from "../../../runtime/nats-auth/credential-issuer.ts";
import { SHARED_ACCOUNT } from "../../../runtime/nats-auth/worker-account.ts";
import { type Broker, hostsOf } from "../../broker.ts";
import type { Base } from "../../roles.ts";
import { issuedCredentials } from "./issued-credentials.ts";
import { CREDS, type OperatorKeys } from "./operator-keys.ts";

export interface WorkerAccess {
  /** Undefined: all workers share what stands in their URL. */
  readonly credentials: WorkerCredentials | undefined;
  connection(spec: WorkerSpec): WorkerConnection | Promise<WorkerConnection>;
  close(): Promise<void>;
}

interface Parts {
  readonly base: Base;
  readonly broker: Broker;
  readonly liveNodes: () => readonly string[];
}

export async function openWorkerAccess({ base, broker, liveNodes }: Parts): Promise<WorkerAccess> {
  const { clock, config, logger, transport } = base;
  const { tls, workerUrl } = broker;
  const natsTls = tls && { ca: tls.ca, names: hostsOf(workerUrl) };
  const way = { natsUrl: workerUrl, partitions: transport.partitions, tls: natsTls };
  const { keys } = broker;
  if (!keys) return { credentials: undefined, connection: () => way, close: async () => {} };
  const issuer = new CredentialIssuer({
    keys: () => keys.all("issuer"),
    ttlMs: config.BERTH_CREDENTIAL_TTL,
    clock,
  });
  const { accounts, close } = await openAccounts(base, { broker, keys, issuer });
  const { buckets } = transport;
  const credentials = issuedCredentials({ issuer, accounts, buckets, liveNodes, clock, logger });
  return {
    credentials,
    connection: (spec) => credentials.connection(spec, way),
    async close() {
      await credentials.close();
      await close();
    },
  };
}

/** Who has the operator's signing key keeps accounts, for the others too. */
async function openAccounts(
  { clock, config, logger, metrics, transport }: Base,
  parts: {
    readonly broker: Broker;
    readonly keys: OperatorKeys;
    readonly issuer: CredentialIssuer;
  },
): Promise<{ readonly accounts: WorkerAccounts; readonly close: () => Promise<void> }> {
  const { broker, issuer, keys } = parts;
  const isKeeper = keys.find("operator-signing") && existsSync(join(keys.folder, CREDS.system));
  if (!isKeeper)
    return { accounts: remoteAccounts(transport.bus, transport.buckets), close: async () => {} };
  const server = await systemAccountServer({
    ...{ url: broker.url, tls: broker.tls },
    name: "berth-accounts",
    credential: () => keys.credential("system"),
  });
  const keep = async () => {
    const keeper = new AccountKeeper({
      ...{ buckets: transport.buckets, server, clock, logger, metrics },
      platform: platformKey(broker, keys),
      signer: () => keys.get("operator-signing"),
      issuers: () => keys.all("issuer").map(({ publicKey }) => publicKey),
      usersOf: (worker) => issuer.usersOf(worker),
      ttlMs: issuer.ttlMs,
    });
    await keeper.ensure(SHARED_ACCOUNT);
    const watch = await AccountWatch.open({
      ...{ keeper, buckets: transport.buckets, clock, logger },
      everyMs: config.BERTH_SWEEP_EVERY,
    });
    return { keeper, watch };
  };
  const { keeper, watch } = await keep().catch(async (thrown: unknown) => {
    // It would come back for ever.
    await server.close();
    throw thrown;
  });
  const servings = serveAccounts(transport.bus, keeper);
  return {
    accounts: keeper,
    async close() {
      await Promise.all(servings.map((serving) => serving.close()));
      await watch.close();
      await server.close();
    },
  };
}

function platformKey({ credential }: Broker, keys: OperatorKeys): string {
  const own = keys.find("platform")?.publicKey ?? (credential && accountOf(credential()));
  if (own !== undefined) return own;
  throw new BerthError("config.invalid", "BERTH_NATS_CREDS is needed beside BERTH_NATS_AUTH", {
    field: "BERTH_NATS_CREDS",
  });
}
