/** Puts the proxy of a node's workers together: part of the composition root. */
import { randomBytes } from "node:crypto";
import { networkInterfaces } from "node:os";
import { z } from "zod";
import { addressScenes } from "../executor/egress/address-scenes.ts";
import { Dialer } from "../executor/egress/dialer.ts";
import { type DeniedEgress, EgressGate, type GateParts } from "../executor/egress/gate.ts";
import { KeyBroker } from "../executor/egress/key-broker.ts";
import { EgressPolicies } from "../executor/egress/policies.ts";
import { EgressProxy, type ProxyParts } from "../executor/egress/proxy.ts";
import { nameResolver } from "../executor/egress/resolver.ts";
import { RunningJobs } from "../executor/egress/running-jobs.ts";
import { EGRESS_KEY_BYTES, EgressTokens } from "../executor/egress/tokens.ts";
import { systemActor } from "../protocols/audit.ts";
import { asBerthError } from "../protocols/errors.ts";
import type { Audit } from "../runtime/audit.ts";
import type { Clock } from "../runtime/clock.ts";
import type { CredentialSource } from "../runtime/credential-source.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Metrics } from "../runtime/metrics.ts";
import type { Buckets } from "../runtime/transport.ts";
import { claimedValue } from "./claimed-value.ts";
import type { Config } from "./config.ts";

export interface EgressParts {
  readonly config: Config;
  readonly buckets: Buckets;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Of users, for tenants whose keys are brokered; default: none are. */
  readonly credentials?: CredentialSource;
  /** Default: what is refused stands in the log alone. */
  readonly audit?: Audit;
  readonly workers: GateParts["workers"];
  /** Default: as in networks of the Docker driver. */
  readonly placeOf?: NonNullable<GateParts["placeOf"]>;
  readonly tenantAt: ProxyParts["tenantAt"];
}

export interface Egress {
  readonly proxy: EgressProxy;
  /** The proxy at `host:port` as a worker is told of it. */
  readonly urlFor: (worker: string, authority: string) => string;
}

const CONNECT_WITHIN_MS = 10_000;

export async function openEgress(parts: EgressParts): Promise<Egress> {
  const { buckets, clock, config, logger: log, metrics, tenantAt, workers } = parts;
  const tokens = await egressTokens(buckets);
  const dialer = new Dialer({
    resolve: nameResolver(config.BERTH_EGRESS_DNS),
    scene: addressScenes({ workers: [config.BERTH_DOCKER_SUBNETS], own: ownAddresses, clock }),
    clock,
    withinMs: CONNECT_WITHIN_MS,
  });
  const policies = new EgressPolicies({ tiers: config.tiers, buckets, clock });
  const gate = new EgressGate({
    tokens,
    workers,
    ...(parts.placeOf === undefined ? {} : { placeOf: parts.placeOf }),
    policyOf: (spec) => policies.of(spec),
    dialer,
    clock,
    metrics,
    log,
    denied: (act) => void auditDenial(parts, act),
  });
  const jobs = new RunningJobs(buckets, clock);
  const broker =
    parts.credentials &&
    new KeyBroker({
      gate,
      tokens,
      credentials: parts.credentials,
      isRunning: (placeholder) => jobs.has(placeholder),
      clock,
      log,
    });
  return {
    proxy: new EgressProxy({
      gate,
      tenantAt,
      clock,
      metrics,
      log,
      ...(broker === undefined ? {} : { broker }),
    }),
    urlFor: (worker, authority) => `http://${worker}:${tokens.ofWorker(worker)}@${authority}`,
  };
}

/** Nothing waits for it. */
async function auditDenial(
  { audit, logger }: EgressParts,
  { worker, tenant, host, port, reason }: DeniedEgress,
): Promise<void> {
  try {
    await audit?.record({
      tenant,
      actor: { ...systemActor(worker), tenant },
      act: "egress.connect",
      target: `${host}:${port}`,
      outcome: "denied",
      detail: { reason },
    });
  } catch (thrown) {
    logger.warn({ err: asBerthError(thrown), worker }, "a denied way out is not in the audit");
  }
}

const KEY = "egress-key";
const keySchema = z.object({ key: z.string().length(EGRESS_KEY_BYTES * 2) });

/** Of one key for every node: a worker's token outlives the process that made it. */
export async function egressTokens(buckets: Pick<Buckets, "get" | "put">): Promise<EgressTokens> {
  const make = () => ({ key: randomBytes(EGRESS_KEY_BYTES).toString("hex") });
  const { key } = await claimedValue(buckets, KEY, { schema: keySchema, make });
  return new EgressTokens(Buffer.from(key, "hex"));
}

function ownAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((all) =>
    (all ?? []).map(({ address }) => address),
  );
}
