/** What `berth nats` does on the data folder of a Berth that runs: replaces keys, makes gateways' credentials. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { devFileSchema } from "../../../protocols/api.ts";
import { BerthError } from "../../../protocols/errors.ts";
import { idSchema } from "../../../protocols/ids.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { noMetrics } from "../../../runtime/metrics.ts";
import { type SystemAccount, systemAccountServer } from "../../../runtime/nats/system-account.ts";
import { connectNats } from "../../../runtime/nats/transport.ts";
import { AccountKeeper } from "../../../runtime/nats-auth/account-keeper.ts";
import { formatCredsFile } from "../../../runtime/nats-auth/credential.ts";
import { CredentialIssuer } from "../../../runtime/nats-auth/credential-issuer.ts";
import { authFolder, brokerTls } from "../../broker.ts";
import type { Config } from "../../config.ts";
import { endServer, serverPid } from "../own-process.ts";
import { gatewayCredential } from "./gateway-credential.ts";
import { OperatorKeys } from "./operator-keys.ts";
import { ROTATIONS, type Rotation, rotate } from "./rotation.ts";

const RESTART_MS = 60_000;
const PAUSE_MS = 200;

/** The text of a .creds file. Needs no server: the key that signs gateways is enough. */
export function makeGatewayCreds(config: Config, id: string): string {
  const name = idSchema.safeParse(id);
  if (!name.success) throw new BerthError("id.invalid", `${id} cannot be a gateway's name`);
  const keys = new OperatorKeys(config.BERTH_NATS_AUTH ?? authFolder(config.BERTH_DATA));
  return formatCredsFile(gatewayCredential(keys, name.data, Math.floor(systemClock.now() / 1_000)));
}

/** Throws `config.invalid` for a key that there is not. */
export async function rotateKey(
  config: Config,
  options: {
    readonly key: string;
    readonly waitMs: number;
    readonly print: (line: string) => void;
  },
): Promise<void> {
  const { key, print, waitMs } = options;
  if (!isRotation(key)) {
    const names = Object.keys(ROTATIONS).join(", ");
    throw new BerthError("config.invalid", `there is no key "${key}": one of ${names}`);
  }
  if (key === "operator") await requireOwnServer(config);
  const keys = new OperatorKeys(config.BERTH_NATS_AUTH ?? authFolder(config.BERTH_DATA));
  const url = config.BERTH_NATS_URL ?? (await urlOf(config.BERTH_DATA));
  const tls = brokerTls(config, url);
  const common = { clock: systemClock, logger: silentLogger };
  const server = await systemAccountServer({
    ...{ url, tls, name: "berth-nats", credential: () => keys.credential("system") },
  });
  const transport = await connectNats({
    ...{ ...common, url, tls, name: "berth-nats", topology: "existing" },
    credential: () => keys.credential("platform"),
  });
  try {
    const ttlMs = config.BERTH_CREDENTIAL_TTL;
    const issuer = new CredentialIssuer({ ...common, keys: () => keys.all("issuer"), ttlMs });
    const keeper = new AccountKeeper({
      ...{ ...common, metrics: noMetrics, buckets: transport.buckets, server, ttlMs },
      platform: keys.get("platform").publicKey,
      signer: () => keys.get("operator-signing"),
      issuers: () => keys.all("issuer").map(({ publicKey }) => publicKey),
      usersOf: (worker) => issuer.usersOf(worker),
    });
    const restart = () => restartServer(config.BERTH_DATA, server);
    await rotate(key, { ...common, keys, server, restart, keeper, waitMs, say: print });
  } finally {
    await transport.close();
    await server.close();
  }
}

const isRotation = (name: string): name is Rotation => Object.hasOwn(ROTATIONS, name);

/** Of the server that `berth up` runs on this data folder. */
export async function urlOf(dataDir: string): Promise<string> {
  try {
    const text = await readFile(join(dataDir, "dev.json"), "utf8");
    return devFileSchema.parse(JSON.parse(text)).nats_url;
  } catch (cause) {
    throw new BerthError("config.invalid", "which nats-server? Set BERTH_NATS_URL", { cause });
  }
}

/** Before anything is begun: only a server of ours can be started again, with another operator. */
async function requireOwnServer(config: Config): Promise<void> {
  if (config.BERTH_NATS_URL === undefined) return void (await serverPid(config.BERTH_DATA));
  throw new BerthError(
    "config.invalid",
    "the operator of the server at BERTH_NATS_URL stands in that server's own configuration",
    { field: "BERTH_NATS_URL" },
  );
}

/** `berth up` starts a server that ends again, from what the files say by then. */
async function restartServer(dataDir: string, server: SystemAccount): Promise<void> {
  const before = await server.serverId();
  await endServer(dataDir);
  const deadline = systemClock.monotonic() + RESTART_MS;
  while (systemClock.monotonic() < deadline) {
    const id = await server.serverId().catch(() => before);
    if (id !== before) return;
    await systemClock.sleep(PAUSE_MS);
  }
  throw new BerthError("broker.unavailable", "nats-server did not come back");
}
