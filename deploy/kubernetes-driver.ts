/** Opens the driver of a node whose workers are pods: part of the composition root. */
import { lookup } from "node:dns/promises";
import { join, resolve } from "node:path";
import { KeptLogs } from "../executor/drivers/kept-logs.ts";
import { Api } from "../executor/drivers/kubernetes/api.ts";
import { BarePods } from "../executor/drivers/kubernetes/bare-pods.ts";
import { Cluster } from "../executor/drivers/kubernetes/cluster.ts";
import { clusterAccess, isInCluster } from "../executor/drivers/kubernetes/cluster-access.ts";
import { KeptPolicies } from "../executor/drivers/kubernetes/kept-policies.ts";
import {
  KubernetesDriver,
  type KubernetesDriverParts,
} from "../executor/drivers/kubernetes/kubernetes.ts";
import {
  type ClusterOwner,
  deploymentLabels,
  LABELS,
  partLabels,
  selectorOf,
} from "../executor/drivers/kubernetes/labels.ts";
import { PodInformer } from "../executor/drivers/kubernetes/pod-informer.ts";
import type { PodMaker } from "../executor/drivers/kubernetes/pod-maker.ts";
import { SandboxPods } from "../executor/drivers/kubernetes/sandbox-pods.ts";
import { Strangers } from "../executor/drivers/kubernetes/strangers.ts";
import { Usage } from "../executor/drivers/kubernetes/usage.ts";
import { workerPolicies } from "../executor/drivers/kubernetes/worker-policies.ts";
import { WorkspaceClaims } from "../executor/drivers/kubernetes/workspace-claims.ts";
import { serversOf } from "../executor/link.ts";
import { asBerthError } from "../protocols/errors.ts";
import { ISOLATION_POLICY } from "../protocols/isolation-policy.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Config } from "./config.ts";
import type { EngineFacts } from "./decide-driver.ts";
import { deploymentId } from "./deployment.ts";
import type { DriverParts } from "./drivers.ts";
import { executorEnvironment } from "./executor-environment.ts";
import { openWayOut } from "./kubernetes-egress.ts";

/** Beyond the time after which a worker without a node ends itself. */
const STRANGER_MARGIN_MS = 60_000;
const DEFAULT_NATS_PORT = 4222;
/** So long after its last node nothing of a worker's Sandbox is left. */
const SANDBOX_LASTS_MS = 86_400_000;

/** Asks the cluster only where that could lead to its being chosen. */
export async function clusterFacts({
  clock,
  config,
}: Pick<DriverParts, "clock" | "config">): Promise<EngineFacts["cluster"]> {
  const isOurs = isInCluster();
  const isCandidate = config.BERTH_DRIVER === "auto" && isOurs;
  if (config.BERTH_DRIVER !== "kubernetes" && !isCandidate)
    return { isOurs, problem: "it was not asked for" };
  try {
    const cluster = await openCluster(config, clock);
    await probe(cluster, config).finally(() => cluster.close());
    return { isOurs, problem: undefined };
  } catch (thrown) {
    return { isOurs, problem: asBerthError(thrown).message };
  }
}

/** As the driver will ask. */
async function probe(cluster: Cluster, config: Config): Promise<void> {
  const workers = `${LABELS.part}=worker`;
  await cluster.pods(workers);
  if (config.BERTH_KUBERNETES_WORKERS === "sandboxes") await cluster.sandboxes.list(workers);
}

async function openCluster(config: Config, clock: Clock): Promise<Cluster> {
  const api = new Api(await clusterAccess(config.KUBECONFIG), clock);
  return new Cluster(api, config.BERTH_KUBERNETES_NAMESPACE);
}

export async function openKubernetes(parts: DriverParts): Promise<KubernetesDriver> {
  const { buckets, clock, config, logger: log, liveNodes, nodeId, workerUrl } = parts;
  const owner: ClusterOwner = { deployment: await deploymentId(buckets, config), node: nodeId };
  const cluster = await openCluster(config, clock);
  const selector = selectorOf(deploymentLabels(owner));
  const informer = new PodInformer({ cluster, selector, clock, log });
  const common = { cluster, informer, owner, clock, log };
  const { BERTH_KUBERNETES_STORAGE_CLASS: storageClass, BERTH_KUBERNETES_IMAGE: image } = config;
  const graceMs = config.BERTH_KILL_GRACE * 2;
  const opened: { driver?: KubernetesDriver } = {};
  const way = await openWayOut(parts, () => opened.driver);
  const reach = { brokers: brokersOf(workerUrl), egress: way?.endpoint };
  const opening = KubernetesDriver.open({
    ...common,
    maker: podMaker(common, config),
    claims: new WorkspaceClaims({ ...common, storageClass }),
    policies: new KeptPolicies({
      ...common,
      wanted: (fleets) => workerPolicies(ISOLATION_POLICY, owner, reach, fleets),
    }),
    strangers: new Strangers({
      node: nodeId,
      liveNodes,
      graceMs: config.BERTH_ORPHAN_AFTER + STRANGER_MARGIN_MS,
      clock,
    }),
    usage: new Usage({ cluster, selector: selectorOf(partLabels(owner, "worker")), image }),
    logs: new KeptLogs(join(resolve(config.BERTH_DATA), "workers", "ended")),
    settings: {
      image,
      pullPolicy: config.BERTH_KUBERNETES_PULL_POLICY,
      pullSecrets: config.BERTH_KUBERNETES_PULL_SECRETS,
      runtimeClass: config.BERTH_KUBERNETES_RUNTIME_CLASS,
      priorityClass: config.BERTH_KUBERNETES_PRIORITY_CLASS,
      requests: config.BERTH_KUBERNETES_REQUESTS,
      env: executorEnvironment(config),
      graceMs,
    },
    placeWithinMs: config.BERTH_KUBERNETES_PLACE_WITHIN,
    resolve: async (name) => (await lookup(name)).address,
    ...(way === undefined ? {} : { proxyUrl: way.proxyUrl, close: way.close }),
  });
  try {
    opened.driver = await opening;
    return opened.driver;
  } catch (thrown) {
    await way?.close();
    throw thrown;
  }
}

function podMaker(
  common: Pick<KubernetesDriverParts, "cluster" | "informer" | "owner" | "clock">,
  config: Config,
): PodMaker {
  const { sandboxes } = common.cluster;
  if (config.BERTH_KUBERNETES_WORKERS === "pods") return new BarePods(common.cluster);
  const lastsMs = config.BERTH_ORPHAN_AFTER + SANDBOX_LASTS_MS;
  return new SandboxPods({ ...common, sandboxes, lastsMs });
}

function brokersOf(url: string): { readonly host: string; readonly port: number }[] {
  return serversOf(url).servers.map((server) => {
    const { hostname, port } = new URL(`nats://${server}`);
    return { host: hostname, port: port === "" ? DEFAULT_NATS_PORT : Number(port) };
  });
}
