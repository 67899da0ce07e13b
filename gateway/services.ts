/** What routes and streams work with: one readonly object, made once by `startGateway`. */

import type { TierTable } from "../protocols/tiers.ts";
import type { Audit } from "../runtime/audit.ts";
import type { Client } from "../runtime/client.ts";
import type { Clock } from "../runtime/clock.ts";
import type { DeadLetters } from "../runtime/dead-letters.ts";
import type { Denials } from "../runtime/denials.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Metrics } from "../runtime/metrics.ts";
import type { Tracer } from "../runtime/tracing.ts";
import type { Transport } from "../runtime/transport.ts";
import type { Attachments } from "./attachments.ts";
import type { Access } from "./auth/access.ts";
import type { GatewayConfig, Tuning } from "./config.ts";
import type { Drain } from "./drain.ts";
import type { HostCensus } from "./host-census.ts";
import type { Idempotency } from "./idempotency.ts";
import type { RequestLimiter } from "./limits/request-limiter.ts";
import type { Strangers } from "./limits/strangers.ts";
import type { StreamBounds } from "./limits/stream-bounds.ts";
import type { SessionFeeds } from "./reader/session-feed.ts";

export interface Services {
  readonly client: Client;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly tracer: Tracer;
  readonly tiers: TierTable;
  readonly config: GatewayConfig;
  readonly tuning: Tuning;
  readonly deadLetters: DeadLetters;
  readonly audit: Audit;
  readonly denials: Denials;
  readonly access: Access;
  readonly idempotency: Idempotency;
  readonly feeds: SessionFeeds;
  readonly attachments: Attachments;
  readonly hosts: HostCensus;
  readonly drain: Drain;
  readonly limiter: RequestLimiter;
  readonly strangers: Strangers;
  readonly streamBounds: StreamBounds;
}
