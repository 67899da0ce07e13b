/** Connections to NATS: ours with all its ports, and the bare client for peers, with the same settings. */
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { readCreds } from "../deploy/nats/auth/operator-keys.ts";
import { systemClock } from "../runtime/clock.ts";
import { silentLogger } from "../runtime/logger.ts";
import { connectNats } from "../runtime/nats/transport.ts";
import { authenticatorOf } from "../runtime/nats-auth/credential.ts";
import type { Transport } from "../runtime/transport.ts";

const HOUR_MS = 3_600_000;

/** `creds` is the file of a credential, where the server asks for one. */
export function connectBerth(url: string, name: string, creds?: string): Promise<Transport> {
  return connectNats({
    url,
    name,
    credential: creds === undefined ? undefined : () => readCreds(creds),
    logger: silentLogger,
    clock: systemClock,
    // The defaults of `deploy/config.ts`; a deployment that exists keeps its own.
    topology: {
      replicas: 1,
      partitions: 16,
      mailboxCapacity: 10_000,
      journalRetentionMs: HOUR_MS,
    },
  });
}

export function connectRaw(url: string, name: string, creds?: string): Promise<NatsConnection> {
  const login =
    creds === undefined ? {} : { authenticator: authenticatorOf(() => readCreds(creds)) };
  return connect({ servers: new URL(url).host, name, noAsyncTraces: true, ...login });
}
