/** The composition root: the only place where ports meet their implementations. */
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { delimiter, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { admitUplink } from "../actors/admit-uplink.ts";
import { actorDefinitions } from "../actors/registry.ts";
import { actorTools } from "../actors/tools/tools.ts";
import { type DriverHost, startDriverHost } from "../executor/driver-host.ts";
import type { Driver, WorkerExit } from "../executor/drivers/driver.ts";
import { ProcessDriver } from "../executor/drivers/process.ts";
import { type Gateway, startGateway } from "../gateway/server.ts";
import { SUPERVISOR_KEY, Supervisor } from "../protocols/actors/supervisor.ts";
import { asBerthError } from "../protocols/errors.ts";
import { type WorkerRecord, workerRecordSchema } from "../protocols/executor.ts";
import { parseId } from "../protocols/ids.ts";
import type { Client } from "../runtime/client.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import { startNodeService } from "../runtime/nats/node-service.ts";
import { connectNats, type NatsTransport } from "../runtime/nats/transport.ts";
import { type RunningNode, startNode } from "../runtime/node.ts";
import type { Tracer } from "../runtime/tracing.ts";
import type { Config } from "./config.ts";
import { FleetGauges } from "./fleet-gauges.ts";
import type { PrometheusMetrics } from "./metrics.ts";

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

/** Where the built code is: workers are started from it, whether we run from source or not. */
const BUILT = builtRoot();

function builtRoot(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  return here.includes(join("dist", "deploy")) ? resolve(here, "..") : resolve(here, "..", "dist");
}

export async function connect(
  url: string,
  name: string,
  parts: Pick<Base, "config" | "clock" | "logger">,
): Promise<NatsTransport> {
  const { config } = parts;
  return await connectNats({
    url,
    name,
    clock: parts.clock,
    logger: parts.logger,
    topology: {
      replicas: config.BERTH_REPLICAS,
      partitions: config.BERTH_PARTITIONS,
      mailboxCapacity: config.BERTH_MAILBOX_CAPACITY,
      journalRetentionMs: config.BERTH_JOURNAL_RETENTION,
    },
  });
}

export interface NodeRole {
  readonly node: RunningNode;
  /** Hands partitions over. With `workers` its workers end too, their workspaces stay. */
  stop(options: { readonly workers: boolean }): Promise<void>;
}

/** A node with its driver host: actors, and the workers of this machine. */
export async function startNodeRole(
  base: Base,
  workerUrl: string,
  { onReplaced }: { readonly onReplaced?: () => void } = {},
): Promise<NodeRole> {
  const { clock, config, logger, metrics, tracer, transport } = base;
  const nodeId = config.BERTH_NODE_ID ?? (await stableNodeId(config.BERTH_DATA));
  const driver = await ProcessDriver.open({
    dataDir: resolve(config.BERTH_DATA),
    command: [process.execPath, join(BUILT, "executor", "main.js")],
    env: workerEnvironment(config),
    clock,
    log: logger,
    graceMs: config.BERTH_KILL_GRACE * 2,
  });
  const running: { node?: RunningNode } = {};
  const tools = actorTools({
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
      supervisor: { fleetAgents: config.BERTH_FLEET_AGENTS },
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
  running.node = node;
  const host = await startDriverHost({
    node: nodeId,
    driver,
    bus: transport.bus,
    clock,
    log: logger,
    connection: () => ({ natsUrl: workerUrl, partitions: transport.partitions }),
    onExit: (exit) => void reportExit(node.client, exit, logger),
  });
  await reconcileWorkers(base, { nodeId, client: node.client, driver, host });
  const service = await startNodeService({ connection: transport.connection, node, version, host });
  const gauges = new FleetGauges(base);
  await gauges.start();
  return {
    node,
    async stop({ workers }) {
      await service.stop();
      await gauges.stop();
      await node.stop();
      if (workers) await host.stopAll();
      await host.close();
      await driver.dispose();
    },
  };
}

function workerEnvironment(config: Config): Record<string, string> {
  const path = [config.BERTH_AGENTS_PATH, config.path]
    .filter((part) => part !== undefined)
    .join(delimiter);
  return {
    PATH: config.path,
    BERTH_AGENT_PATH: path,
    BERTH_GRACE_MS: String(config.BERTH_KILL_GRACE),
    BERTH_ORPHAN_AFTER_MS: String(config.BERTH_ORPHAN_AFTER),
    BERTH_OUTPUT_LIMIT_BYTES: String(config.BERTH_OUTPUT_LIMIT_BYTES),
  };
}

/** Tries until the supervisor's mailbox has it; its sweep finds the dead worker anyway, only later. */
async function reportExit(
  client: Client,
  { worker, spec, reason, code }: WorkerExit,
  logger: Logger,
): Promise<void> {
  await client
    .actor(Supervisor, spec.tenant, SUPERVISOR_KEY)
    .exited({ worker, reason, code }, { timeoutMs: 60_000, id: `exited:${worker}` })
    .catch((thrown: unknown) =>
      logger.error({ err: asBerthError(thrown), worker }, "a worker's end could not be reported"),
    );
}

/**
 * Compares the records with what lives on this machine, at the start: workers that nobody has on record end
 * (their start was given up while we were down), and supervisors hear of those that ended meanwhile, before
 * a job can be given to one of them.
 */
async function reconcileWorkers(
  { logger, transport }: Base,
  parts: {
    readonly nodeId: string;
    readonly client: Client;
    readonly driver: Driver;
    readonly host: DriverHost;
  },
): Promise<void> {
  const recorded: WorkerRecord[] = [];
  const removed = await parts.host.reconcile(async () => {
    for (const entry of await transport.buckets.list("workers", "")) {
      const record = workerRecordSchema.safeParse(
        JSON.parse(new TextDecoder().decode(entry.value)),
      );
      if (record.success) recorded.push(record.data);
    }
    return {
      workers: new Set(recorded.map((record) => record.id)),
      isWorkspaceWanted: () => Promise.resolve(true),
    };
  });
  if (removed.length > 0) logger.warn({ workers: removed }, "ended workers that nobody wants");
  const live = new Set((await parts.driver.list()).map(({ worker }) => worker));
  const gone = recorded.filter(({ host, id }) => host === parts.nodeId && !live.has(id));
  await Promise.all(
    gone.map(({ id: worker, spec }) => {
      const exit = { worker, spec, reason: "its node was restarted", code: "worker.lost" } as const;
      return reportExit(parts.client, exit, logger);
    }),
  );
}

async function stableNodeId(dataDir: string): Promise<string> {
  const path = join(dataDir, "node-id");
  await mkdir(dataDir, { recursive: true });
  if (!existsSync(path)) {
    const id = `node-${randomUUID().slice(0, 8)}`;
    await writeFile(path, `${id}\n`, { flag: "wx" }).catch(() => undefined);
  }
  return parseId((await readFile(path, "utf8")).trim(), "node-id");
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
  return await startGateway({
    client,
    transport,
    clock,
    logger,
    metrics,
    tracer,
    metricsText: () => metrics.text(),
    tiers: config.tiers,
    deadLetters: transport.deadLetters,
    config: {
      host: config.BERTH_HOST,
      ...ports,
      version,
      agents: config.BERTH_AGENTS,
      corsOrigins: config.BERTH_CORS_ORIGINS,
      ...(config.jwt ? { jwt: config.jwt } : {}),
      ...(existsSync(dashboard) ? { dashboard } : {}),
      tuning: { drainMs: config.BERTH_DRAIN_TIMEOUT },
    },
  });
}
