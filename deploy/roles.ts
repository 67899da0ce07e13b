/** The composition root: the only place where ports meet their implementations. */
import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { admitUplink } from "../actors/admit-uplink.ts";
import { hostDesires } from "../actors/hosting/host-desires.ts";
import { actorDefinitions } from "../actors/registry.ts";
import { actorTools } from "../actors/tools/tools.ts";
import { Keyring } from "../actors/vault/keyring.ts";
import { Vault } from "../actors/vault/vault.ts";
import { startVaultService } from "../actors/vault/vault-service.ts";
import { startDriverHost } from "../executor/driver-host.ts";
import { startReconciler } from "../executor/reconciler.ts";
import { type Gateway, startGateway } from "../gateway/server.ts";
import { asBerthError } from "../protocols/errors.ts";
import { atMost } from "../runtime/at-most.ts";
import { auditOf } from "../runtime/audit.ts";
import type { Client } from "../runtime/client.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import { readBrokerUse } from "../runtime/nats/broker-use.ts";
import { startNodeService } from "../runtime/nats/node-service.ts";
import { connectNats, type NatsTransport } from "../runtime/nats/transport.ts";
import { type RunningNode, startNode } from "../runtime/node.ts";
import type { Tracer } from "../runtime/tracing.ts";
import { type Broker, brokerNotes } from "./broker.ts";
import { BrokerGauges } from "./broker-gauges.ts";
import type { Config } from "./config.ts";
import { openDriver } from "./drivers.ts";
import { egressTokens } from "./egress.ts";
import { FleetGauges } from "./fleet-gauges.ts";
import { HostGauges } from "./host-gauges.ts";
import type { PrometheusMetrics } from "./metrics.ts";
import { gatewayInbox } from "./nats/auth/gateway-credential.ts";
import { openWorkerAccess } from "./nats/auth/worker-access.ts";
import { stableNodeId } from "./node-id.ts";
import { openListenerTls } from "./tls-files.ts";
import { keySourceOf } from "./vault-keys.ts";
import { version } from "./version.ts";

/** What every role works with. */
export interface Base {
  readonly config: Config;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: PrometheusMetrics;
  readonly tracer: Tracer;
  readonly transport: NatsTransport;
}

/** A broker that takes longer to say what it holds is not waited for. */
const BROKER_READING_MS = 5_000;

/** Where the built code is: workers are started from it, whether we run from source or not. */
const BUILT = builtRoot();

function builtRoot(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  return here.includes(join("dist", "deploy")) ? resolve(here, "..") : resolve(here, "..", "dist");
}

export async function connect(
  { url, credential, tls }: Pick<Broker, "url" | "credential" | "tls">,
  name: string,
  parts: Pick<Base, "config" | "clock" | "logger">,
): Promise<NatsTransport> {
  const { config } = parts;
  return await connectNats({
    ...{ url, name, credential, tls },
    clock: parts.clock,
    logger: parts.logger,
    topology: {
      replicas: config.BERTH_REPLICAS,
      serverTags: config.BERTH_STREAM_TAGS,
      partitions: config.BERTH_PARTITIONS,
      mailboxCapacity: config.BERTH_MAILBOX_CAPACITY,
      journalRetentionMs: config.BERTH_JOURNAL_RETENTION,
      auditRetentionMs: config.BERTH_AUDIT_RETENTION,
    },
  });
}

/** As a gateway, which makes no streams. Without a credential of its own it is what the URL says. */
export async function connectGateway(
  { url, credential, tls }: Pick<Broker, "url" | "credential" | "tls">,
  name: string,
  { clock, config, logger }: Pick<Base, "config" | "clock" | "logger">,
): Promise<NatsTransport> {
  if (!credential) return await connect({ url, tls }, name, { clock, config, logger });
  return await connectNats({
    ...{ url, name, credential, tls, clock, logger },
    inboxPrefix: gatewayInbox(credential()),
    topology: "existing",
  });
}

export interface NodeRole {
  readonly node: RunningNode;
  /** What starts its workers, what that cannot keep them from, and what a better one would need. */
  readonly driver: {
    readonly name: string;
    readonly notes: readonly string[];
  };
  /** Hands partitions over. With `workers` its workers end too, their workspaces stay. */
  stop(options: { readonly workers: boolean }): Promise<void>;
}

/** A node with its driver host: actors, and the workers of this machine. What was begun is given up when a later part fails. */
export async function startNodeRole(
  base: Base,
  broker: Broker,
  { onReplaced }: { readonly onReplaced?: () => void } = {},
): Promise<NodeRole> {
  const undo: (() => Promise<unknown>)[] = [];
  try {
    return await openNodeRole(base, broker, { onReplaced, undo });
  } catch (thrown) {
    // The first failure is the one that counts.
    for (const step of undo.toReversed()) await step().catch(() => undefined);
    throw thrown;
  }
}

async function openNodeRole(
  base: Base,
  broker: Broker,
  {
    onReplaced,
    undo,
  }: {
    readonly onReplaced: (() => void) | undefined;
    readonly undo: (() => Promise<unknown>)[];
  },
): Promise<NodeRole> {
  const { clock, config, logger, metrics, tracer, transport } = base;
  const nodeId = config.BERTH_NODE_ID ?? (await stableNodeId(config.BERTH_DATA));
  const vault = await openVault(base);
  const running: { node?: RunningNode } = {};
  const liveNodes = () => (running.node?.nodes() ?? []).map(({ id }) => id);
  const access = await openWorkerAccess({ base, broker, liveNodes });
  undo.push(() => access.close());
  const { driver, notes } = await openDriver({
    credentials: vault.source,
    audit: vault.audit,
    config,
    clock,
    logger,
    metrics,
    buckets: transport.buckets,
    nodeId,
    workerUrl: broker.workerUrl,
    liveNodes,
    workerProgram: join(BUILT, "executor", "main.js"),
  });
  undo.push(() => driver.dispose());
  const tokens = await egressTokens(transport.buckets);
  const tools = actorTools({
    credentials: vault.source,
    placeholders: {
      stored: (place) => vault.source.has(place),
      make: (content) => tokens.placeholder(content),
    },
    bus: transport.bus,
    buckets: transport.buckets,
    hosts: () => (running.node?.nodes() ?? []).filter((node) => node.drivers.length > 0),
    clock,
    logger,
    agentEnvironment: config.agentEnvironment,
  });
  const node = await startNode({
    transport,
    definitions: actorDefinitions({
      tiers: config.tiers,
      quotaWindowMs: config.BERTH_QUOTA_WINDOW,
      supervisor: {
        fleetAgents: config.BERTH_FLEET_AGENTS,
        sweepMs: config.BERTH_SWEEP_EVERY,
        hostGraceMs: hostGraceMs(config),
      },
      capacity: { maxWorkers: config.BERTH_MAX_WORKERS, maxStarts: config.BERTH_START_CONCURRENCY },
    }),
    tools,
    clock,
    logger,
    metrics,
    tracer,
    random: Math.random,
    nodeId,
    version,
    drivers: [{ name: driver.name, max_workers: config.BERTH_MAX_WORKERS }],
    leaseTtlMs: config.BERTH_LEASE_TTL,
    handoverMs: config.BERTH_DRAIN_TIMEOUT,
    admitUplink,
    ...(onReplaced ? { onReplaced } : {}),
  });
  undo.push(() => node.stop());
  running.node = node;
  const desires = hostDesires({
    client: node.client,
    buckets: transport.buckets,
    tiers: config.tiers,
    clock,
    logger,
  });
  const host = await startDriverHost({
    node: nodeId,
    driver,
    bus: transport.bus,
    clock,
    metrics,
    log: logger,
    connection: (spec) => access.connection(spec),
    ...(access.credentials ? { credentials: access.credentials } : {}),
    onExit: (exit) =>
      void desires.reportExit(exit).catch((thrown: unknown) => {
        // The next comparison tells of it again.
        const err = asBerthError(thrown);
        logger.error({ err, worker: exit.worker }, "a worker's end could not be reported");
      }),
  });
  const reconciler = await startReconciler({
    node: nodeId,
    driver,
    host,
    desires,
    clock,
    metrics,
    log: logger,
    random: Math.random,
    everyMs: config.BERTH_SWEEP_EVERY,
  });
  undo.push(() => reconciler.close());
  const service = await startNodeService({
    ...{ connection: transport.connection, records: transport.records, node, version, host },
  });
  undo.push(() => service.stop());
  const vaultService = await vault.serve();
  const gauges = new FleetGauges(base);
  await gauges.start();
  const hostGauges = new HostGauges({ ...base, driver });
  hostGauges.start();
  const brokerGauges = new BrokerGauges({
    ...base,
    read: () => readBrokerUse(transport.connection, BROKER_READING_MS),
  });
  brokerGauges.start();
  return {
    node,
    driver: { name: driver.name, notes: [...driver.weaknesses, ...notes, ...brokerNotes(broker)] },
    async stop({ workers }) {
      await service.stop();
      await vaultService?.close();
      await reconciler.close();
      await Promise.all([gauges.stop(), hostGauges.stop(), brokerGauges.stop()]);
      await node.stop();
      if (workers) {
        const stopped = await host.stopAll();
        const reason = "its node was stopped";
        const told = stopped.map((live) =>
          desires.reportExit({ ...live, reason, code: "worker.lost" }),
        );
        // When the broker is away, too, the next start tells it.
        await atMost(clock, config.BERTH_DRAIN_TIMEOUT, Promise.all(told));
      }
      await host.close({ removeAll: workers });
      await access.close();
      await vault.source.close();
    },
  };
}

/** Where this node holds no keys it answers no gateway, and opens nothing. */
async function openVault({ config, clock, logger, metrics, transport }: Base) {
  const source = keySourceOf(config);
  const keyring = source && (await Keyring.open(source, clock, logger));
  const { audit: store, bus, buckets } = transport;
  const audit = auditOf({ store, clock, random: Math.random });
  const vault = new Vault({ buckets, keyring, clock, log: logger, metrics, audit });
  return {
    source: vault,
    audit,
    serve: async () => keyring && (await startVaultService({ vault, bus, clock, log: logger })),
  };
}

/** An executor finds out at its next beats that it has no contact, ends its agents, and sends what they have said. */
const BEATS_AND_FAREWELL_MS = 10_000;

/** After so long without contact nothing of a worker runs any more. */
function hostGraceMs({ BERTH_ORPHAN_AFTER, BERTH_KILL_GRACE }: Config): number {
  return BERTH_ORPHAN_AFTER + BERTH_KILL_GRACE + BEATS_AND_FAREWELL_MS;
}

/** The lines that a start prints of its driver. */
export function driverLines({ name, notes }: NodeRole["driver"]): string[] {
  const what = { docker: "containers", kubernetes: "pods" }[name] ?? "processes";
  return [`workers are ${what} (driver ${name})`, ...notes.map((note) => `note: ${note}`)];
}

/** A gateway on this process's transport; stateless, any number may run. */
export async function startGatewayRole(
  base: Base,
  client: Client,
  ports: { readonly port: number; readonly metricsPort: number },
): Promise<Gateway> {
  const { clock, config, logger, metrics, tracer, transport } = base;
  // Static files: they are served from where they were written, not from what is built.
  const dashboard = resolve(BUILT, "..", "gateway", "dashboard");
  const tls = await openListenerTls(config, base);
  const gateway = await startGateway({
    client,
    transport,
    clock,
    logger,
    metrics,
    tracer,
    metricsText: () => metrics.text(),
    tiers: config.tiers,
    deadLetters: transport.deadLetters,
    audit: auditOf({ store: transport.audit, clock, random: Math.random }),
    config: {
      host: config.BERTH_HOST,
      ...(config.BERTH_METRICS_HOST === undefined
        ? {}
        : { metricsHost: config.BERTH_METRICS_HOST }),
      ...(tls.api ? { tls: tls.api } : {}),
      ...(tls.metrics ? { metricsTls: tls.metrics } : {}),
      ...ports,
      version,
      agents: config.BERTH_AGENTS,
      corsOrigins: config.BERTH_CORS_ORIGINS,
      trustedProxies: config.BERTH_TRUSTED_PROXIES,
      ...(config.jwt ? { jwt: config.jwt } : {}),
      ...(existsSync(dashboard) ? { dashboard } : {}),
      tuning: { drainMs: config.BERTH_DRAIN_TIMEOUT },
    },
  }).catch((thrown: unknown) => {
    tls.stop();
    throw thrown;
  });
  return { ...gateway, close: () => gateway.close().finally(() => tls.stop()) };
}
