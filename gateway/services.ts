/** What routes and streams work with: one readonly object, made once by `startGateway`. */

import type { DeadLetter } from "../protocols/records.ts";
import type { TierTable } from "../protocols/tiers.ts";
import type { Client } from "../runtime/client.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Metrics } from "../runtime/metrics.ts";
import type { Transport } from "../runtime/transport.ts";
import type { Attachments } from "./attachments.ts";
import type { Access } from "./auth/access.ts";
import type { GatewayConfig, Tuning } from "./config.ts";
import type { Drain } from "./drain.ts";
import type { Idempotency } from "./idempotency.ts";
import type { SessionFeeds } from "./reader/session-feed.ts";

/** Reads and empties the dead letters; the runtime's transport implements it. */
export interface DeadLetters {
  /** Newest first, of one tenant or of all; `after` is the id of the last one had. */
  list(query: {
    readonly tenant?: string;
    readonly after?: string;
    readonly limit: number;
  }): Promise<{ readonly letters: readonly DeadLetter[]; readonly next: string | null }>;
  /** Sends the letter's message again and takes the letter away. Rejects with `request.not_found`. */
  replay(id: string): Promise<void>;
  /** Drops one letter, or those of a tenant, or all; resolves with how many. */
  purge(query: { readonly id?: string; readonly tenant?: string }): Promise<number>;
}

export interface Services {
  readonly client: Client;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly tiers: TierTable;
  readonly config: GatewayConfig;
  readonly tuning: Tuning;
  readonly deadLetters: DeadLetters;
  readonly access: Access;
  readonly idempotency: Idempotency;
  readonly feeds: SessionFeeds;
  readonly attachments: Attachments;
  readonly drain: Drain;
}
