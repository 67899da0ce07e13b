/** A keeper of accounts in a process of its own: revokes the workers that it is told, all at once, and ends. */
import { OperatorKeys } from "../../../deploy/nats/auth/operator-keys.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { noMetrics } from "../../../runtime/metrics.ts";
import { systemAccountServer } from "../../../runtime/nats/system-account.ts";
import { connectNats } from "../../../runtime/nats/transport.ts";
import { AccountKeeper } from "../../../runtime/nats-auth/account-keeper.ts";
import { CredentialIssuer } from "../../../runtime/nats-auth/credential-issuer.ts";

const { url, folder, account, workers } = JSON.parse(process.argv[2] ?? "") as {
  readonly url: string;
  readonly folder: string;
  readonly account: string;
  readonly workers: readonly string[];
};
const keys = new OperatorKeys(folder);
const common = { clock: systemClock, logger: silentLogger };
const transport = await connectNats({
  ...{ ...common, url, name: "keeper", credential: () => keys.credential("platform") },
  topology: { replicas: 1, partitions: 2, mailboxCapacity: 100, journalRetentionMs: 3_600_000 },
});
const server = await systemAccountServer({
  ...{ url, name: "keeper", credential: () => keys.credential("system") },
});
const ttlMs = 600_000;
const issuer = new CredentialIssuer({ keys: () => keys.all("issuer"), ttlMs, clock: systemClock });
const keeper = new AccountKeeper({
  ...{ ...common, metrics: noMetrics, buckets: transport.buckets, server, ttlMs },
  platform: keys.get("platform").publicKey,
  signer: () => keys.get("operator-signing"),
  issuers: () => [issuer.publicKey],
  usersOf: (worker) => issuer.usersOf(worker),
});
// One after another, so that each is a change of its own and meets the other process's.
for (const worker of workers) await keeper.revoke(account, worker);
await server.close();
await transport.close();
