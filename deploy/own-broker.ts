/** The broker of a data folder: one that runs elsewhere if the configuration names it, else a nats-server that we start there. */
import { join, resolve } from "node:path";
import { systemClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import { authFolder, type Broker, brokerTls, externalBroker } from "./broker.ts";
import { chosenPort } from "./chosen-port.ts";
import type { Config } from "./config.ts";
import { gatewayCredential } from "./nats/auth/gateway-credential.ts";
import { ensureOperatorKeys } from "./nats/auth/operator-keys.ts";
import { operatorModeLines } from "./nats/auth/operator-mode.ts";
import { findNatsServer } from "./nats/find-server.ts";
import { accountsFolder, NatsServer } from "./nats/server.ts";
import { tlsLines } from "./nats/tls-lines.ts";

/** What stops the server is added to `undo`. */
export async function startBroker(
  config: Config,
  {
    logger,
    print,
    undo,
  }: {
    readonly logger: Logger;
    readonly print: (line: string) => void;
    readonly undo: (() => Promise<void>)[];
  },
): Promise<Broker> {
  if (config.BERTH_NATS_URL !== undefined) return externalBroker(config);
  const dataDir = resolve(config.BERTH_DATA);
  const { binary, version: found } = await findNatsServer(
    { cacheDir: config.BERTH_CACHE ?? join(dataDir, "cache"), archive: archiveOf(config) },
    print,
  );
  const second = () => Math.floor(systemClock.now() / 1_000);
  const keys = await ensureOperatorKeys(authFolder(dataDir), second());
  const server = await NatsServer.start(
    { clock: systemClock, logger },
    {
      binary,
      dataDir,
      port: await chosenPort(config, "BERTH_NATS_PORT", "nats-server", print),
      syncInterval: config.BERTH_NATS_SYNC,
      access: () => [
        ...operatorModeLines(keys, accountsFolder(dataDir), second()),
        ...tlsLines(config),
      ],
    },
  );
  undo.push(() => server.stop());
  print(`nats-server ${found} on port ${server.port}, data in ${config.BERTH_DATA}/nats`);
  return {
    url: server.url,
    workerUrl: config.BERTH_WORKER_NATS_URL ?? server.url,
    tls: brokerTls(config, server.url),
    credential: () => keys.credential("platform"),
    gateway: () => gatewayCredential(keys, "up", second()),
    keys,
  };
}

function archiveOf(config: Config): { readonly url: string; readonly sha256: string } | undefined {
  const { BERTH_NATS_ARCHIVE: url, BERTH_NATS_SHA256: sha256 } = config;
  return url !== undefined && sha256 !== undefined ? { url, sha256 } : undefined;
}
