/** Connections to NATS: ours with all its ports, and the bare client for peers, with the same settings. */
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { systemClock } from "../runtime/clock.ts";
import { silentLogger } from "../runtime/logger.ts";
import { connectNats } from "../runtime/nats/transport.ts";
import type { Transport } from "../runtime/transport.ts";

const HOUR_MS = 3_600_000;

export function connectBerth(url: string, name: string): Promise<Transport> {
  return connectNats({
    url,
    name,
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

export function connectRaw(url: string, name: string): Promise<NatsConnection> {
  const { host, password, username } = new URL(url);
  const login = username === "" ? {} : { user: username, pass: password };
  return connect({ servers: host, name, noAsyncTraces: true, ...login });
}
