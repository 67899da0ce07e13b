/** What Berth's account has in JetStream, asked of the server: its data, and the limits of it if it has any. */
import { type AccountLimits, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { fromNats } from "./errors.ts";

export interface BrokerUse {
  /** As the server counts: a stream of three replicas counts three times. */
  readonly storageBytes: number;
  readonly memoryBytes: number;
  readonly streams: number;
  readonly consumers: number;
  readonly apiErrors: number;
  /** 0 where the account has no such limit: then the servers' disks are the only one. */
  readonly storageLimitBytes: number;
  readonly memoryLimitBytes: number;
}

/** Throws `broker.*` when no answer comes within `timeoutMs`. */
export async function readBrokerUse(nc: NatsConnection, timeoutMs: number): Promise<BrokerUse> {
  try {
    const jsm = await jetstreamManager(nc, { checkAPI: false, timeout: timeoutMs });
    const info = await jsm.getAccountInfo();
    const tiers = Object.values(info.tiers ?? {}).flatMap((tier) => (tier ? [tier.limits] : []));
    const limits = tiers.length > 0 ? tiers : [info.limits];
    return {
      storageBytes: info.storage,
      memoryBytes: info.memory,
      streams: info.streams,
      consumers: info.consumers,
      apiErrors: info.api.errors,
      storageLimitBytes: sumOf(limits, "max_storage"),
      memoryLimitBytes: sumOf(limits, "max_memory"),
    };
  } catch (thrown) {
    throw fromNats(thrown);
  }
}

/** An account may have one limit for each count of replicas; one of them without a bound makes the whole so. */
function sumOf(limits: readonly AccountLimits[], field: "max_storage" | "max_memory"): number {
  const values = limits.map((one) => one[field]);
  return values.some((value) => value < 0) ? 0 : values.reduce((sum, value) => sum + value, 0);
}
