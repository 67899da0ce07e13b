/** Opens the driver that a node starts its workers with: part of the composition root. */
import { randomBytes } from "node:crypto";
import { delimiter, join, resolve } from "node:path";
import { BucketClaims } from "../executor/drivers/docker/claims.ts";
import { DockerDriver } from "../executor/drivers/docker/docker.ts";
import { DormantPool, type Flavour } from "../executor/drivers/docker/dormant-pool.ts";
import { Engine } from "../executor/drivers/docker/engine.ts";
import type { EngineOwner } from "../executor/drivers/docker/labels.ts";
import { Networks } from "../executor/drivers/docker/networks.ts";
import { openWorkspaces } from "../executor/drivers/docker/open-workspaces.ts";
import { DORMANT_PREFIX } from "../executor/drivers/docker/roster.ts";
import { Sandboxes } from "../executor/drivers/docker/sandboxes.ts";
import { Strangers } from "../executor/drivers/docker/strangers.ts";
import type { Driver } from "../executor/drivers/driver.ts";
import { KeptLogs } from "../executor/drivers/kept-logs.ts";
import { ProcessDriver } from "../executor/drivers/process.ts";
import { serversOf } from "../executor/link.ts";
import { TIERS, type TierTable } from "../protocols/tiers.ts";
import type { Audit } from "../runtime/audit.ts";
import type { Clock } from "../runtime/clock.ts";
import type { CredentialSource } from "../runtime/credential-source.ts";
import type { Logger } from "../runtime/logger.ts";
import { type Metrics, noMetrics } from "../runtime/metrics.ts";
import type { Buckets } from "../runtime/transport.ts";
import type { Config } from "./config.ts";
import { decideDriver, type EngineFacts } from "./decide-driver.ts";
import { deploymentId } from "./deployment.ts";
import { openEgress } from "./egress.ts";
import { executorEnvironment } from "./executor-environment.ts";
import { BUILD_LABEL, executorBuild } from "./images/executor-build.ts";
import { clusterFacts, openKubernetes } from "./kubernetes-driver.ts";

export interface DriverParts {
  readonly config: Config;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Default: none. */
  readonly metrics?: Metrics;
  readonly buckets: Buckets;
  /** Of users, for tenants whose keys are brokered; default: none are. */
  readonly credentials?: CredentialSource;
  /** Default: what the proxy refuses stands in the log alone. */
  readonly audit?: Audit;
  readonly nodeId: string;
  /** As the node reaches the broker on behalf of its workers. */
  readonly workerUrl: string;
  /** Nodes with a lease, as this node sees them. */
  readonly liveNodes: () => readonly string[];
  /** The worker's program, for drivers that have no image of it. */
  readonly workerProgram: string;
}

export interface OpenedDriver {
  readonly driver: Driver;
  /** What people are told at the start: what would have to change for a better driver, or for its image. */
  readonly notes: readonly string[];
}

const ID_BYTES = 6;
/** Beyond the time after which a worker without a node ends itself. */
const STRANGER_MARGIN_MS = 60_000;
const DEFAULT_NATS_PORT = 4222;

/** Throws `driver.unavailable` when Docker or Kubernetes is asked for by name and cannot be had. */
export async function openDriver(parts: DriverParts): Promise<OpenedDriver> {
  const engine = new Engine(parts.config.BERTH_DOCKER_SOCKET);
  const facts = await factsOf(engine, parts);
  const { driver, hint } = decideDriver(parts.config, facts);
  if (driver === "kubernetes") return { driver: await openKubernetes(parts), notes: [] };
  if (driver === "docker")
    return {
      driver: await openDocker(parts, engine),
      notes: [
        ...(await imageNotes(engine, parts.config.BERTH_DOCKER_IMAGE)),
        ...processorNotes(parts.config.tiers, await engine.processors()),
      ],
    };
  return { driver: await openProcess(parts), notes: hint === "" ? [] : [`no containers: ${hint}`] };
}

/** Pure. */
export function processorNotes(tiers: TierTable, processors: number): string[] {
  return TIERS.filter((tier) => tiers[tier].cpus > processors).map(
    (tier) =>
      `workers of tier ${tier} get ${processors} CPUs, not ${tiers[tier].cpus}: this host has no more`,
  );
}

async function imageNotes(engine: Engine, image: string): Promise<string[]> {
  const [label, own] = [(await engine.imageLabels(image))?.[BUILD_LABEL], await executorBuild()];
  // An image that somebody made by hand has no label: it is theirs to judge.
  if (!label || own === undefined || label === own) return [];
  return [`image ${image} is of another build: "npm run image -- executor" renews it`];
}

async function factsOf(engine: Engine, parts: DriverParts): Promise<EngineFacts> {
  const { config } = parts;
  const cluster = await clusterFacts(parts);
  const none = { version: undefined, hasImage: false, cluster };
  const isDecided = cluster.isOurs && cluster.problem === undefined;
  if (isDecided || !["auto", "docker"].includes(config.BERTH_DRIVER)) return none;
  try {
    const version = await engine.version();
    const hasImage = (await engine.imageLabels(config.BERTH_DOCKER_IMAGE)) !== undefined;
    return { version, hasImage, cluster };
  } catch {
    return none;
  }
}

function openProcess({ config, clock, logger, workerProgram }: DriverParts): Promise<Driver> {
  const path = [config.BERTH_AGENTS_PATH, config.path]
    .filter((part) => part !== undefined)
    .join(delimiter);
  return ProcessDriver.open({
    dataDir: resolve(config.BERTH_DATA),
    command: [process.execPath, workerProgram],
    env: { PATH: config.path, BERTH_AGENT_PATH: path, ...executorEnvironment(config) },
    clock,
    log: logger,
    graceMs: config.BERTH_KILL_GRACE * 2,
  });
}

async function openDocker(parts: DriverParts, engine: Engine): Promise<Driver> {
  const { buckets, clock, config, liveNodes, logger: log, nodeId, workerUrl } = parts;
  const { BERTH_DOCKER_IMAGE: image, BERTH_DOCKER_DOOR_PORT: doorPort } = config;
  const owner: EngineOwner = { deployment: await deploymentId(buckets, config), node: nodeId };
  const { docker } = engine;
  const dataDir = resolve(config.BERTH_DATA);
  const workspaces = await openWorkspaces({ docker, owner, dataDir, image, clock, log });
  const opened: { driver?: DockerDriver } = {};
  const egress = await openEgress({
    ...parts,
    metrics: parts.metrics ?? noMetrics,
    workers: () => opened.driver && ((worker) => opened.driver?.find(worker)),
    tenantAt: (gateway) => opened.driver?.tenantAt(gateway),
  });
  const networks = await Networks.open({
    engine: docker,
    owner,
    subnets: config.BERTH_DOCKER_SUBNETS,
    doorPort,
    natsTargets: () => targetsOf(workerUrl),
    proxy: {
      port: config.BERTH_DOCKER_PROXY_PORT,
      accept: (near) => egress.proxy.accept(near),
    },
    clock,
    log,
  });
  const common = { engine, owner, clock, log, networks, workspaces };
  const runtime = config.BERTH_DOCKER_RUNTIME;
  const env = executorEnvironment(config);
  const processors = await engine.processors();
  const sandboxes = new Sandboxes({ ...common, image, runtime, env, processors });
  const claims = new BucketClaims({ buckets, node: nodeId });
  const build = (await engine.imageLabels(image))?.[BUILD_LABEL] ?? image;
  const newId = () => `${DORMANT_PREFIX}${randomBytes(ID_BYTES).toString("hex")}`;
  const flavours = flavoursOf(config.tiers);
  opened.driver = await DockerDriver.open({
    ...common,
    image,
    sandboxes,
    claims,
    strangers: new Strangers({
      ...common,
      liveNodes,
      graceMs: config.BERTH_ORPHAN_AFTER + STRANGER_MARGIN_MS,
    }),
    logs: new KeptLogs(join(dataDir, "workers", "ended")),
    pool: (isQuiet) =>
      new DormantPool({ ...common, flavours, sandboxes, claims, build, newId, isQuiet }),
    doorPort,
    proxyUrl: (worker, gateway) =>
      egress.urlFor(worker, `${gateway}:${config.BERTH_DOCKER_PROXY_PORT}`),
    graceMs: config.BERTH_KILL_GRACE * 2,
  });
  return opened.driver;
}

function flavoursOf(tiers: TierTable): Flavour[] {
  return TIERS.map((tier) => {
    const limits = tiers[tier];
    return {
      count: limits.dormantWorkers,
      size: {
        tier,
        workspace: limits.workspace,
        cpus: limits.cpus,
        memory_bytes: limits.memoryBytes,
        storage_bytes: limits.storageBytes,
        processes: limits.processes,
        network: limits.network,
        internet: limits.internet,
      },
    };
  });
}

function targetsOf(url: string): { readonly host: string; readonly port: number }[] {
  return serversOf(url).servers.map((server) => {
    const { hostname, port } = new URL(`nats://${server}`);
    return { host: hostname, port: port === "" ? DEFAULT_NATS_PORT : Number(port) };
  });
}
