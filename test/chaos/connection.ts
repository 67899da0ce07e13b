/** How every process of a run connects: three copies of each stream, few partitions, small mailboxes. */
import { systemClock } from "../../runtime/clock.ts";
import { type Logger, silentLogger } from "../../runtime/logger.ts";
import { connectNats, type NatsTransport } from "../../runtime/nats/transport.ts";

export const TENANT = "chaos";
export const PARTITIONS = 12;
/** Small, so that floods and outages reach it (R7). */
export const MAILBOX_CAPACITY = 300;

export function connectChaos(
  url: string,
  name: string,
  logger: Logger = silentLogger,
): Promise<NatsTransport> {
  return connectNats({
    url,
    name,
    topology: {
      replicas: 3,
      partitions: PARTITIONS,
      mailboxCapacity: MAILBOX_CAPACITY,
      journalRetentionMs: 3_600_000,
    },
    logger,
    clock: systemClock,
  });
}

/** One clock for all processes of a machine, in ms: histories of several clients are put together. */
export const sharedClock = { monotonic: () => Number(process.hrtime.bigint()) / 1e6 };
