/** What the tools work with. */
import type { NodeRecord } from "../../protocols/records.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { CredentialSource } from "../../runtime/credential-source.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { Buckets, Bus } from "../../runtime/transport.ts";
import type { Placeholders } from "./brokered-keys.ts";

export interface ToolOptions {
  readonly bus: Bus;
  readonly buckets: Buckets;
  /** Live nodes that host a driver. */
  readonly hosts: () => readonly NodeRecord[];
  readonly clock: Clock;
  readonly logger: Logger;
  /** Users' own provider keys (default none). */
  readonly credentials?: CredentialSource;
  /** For tenants whose keys are brokered: default, their agents get no keys. */
  readonly placeholders?: Placeholders;
  /** Secret variables for the processes of an agent, such as a provider's key that the deployment shares (default none). */
  readonly agentEnvironment?: (agent: string) => Readonly<Record<string, string>>;
  /** How long orders to a worker are repeated while it does not answer (default 10 s). */
  readonly orderWindowMs?: number;
}
