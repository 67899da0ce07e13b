/** A worker's pod as the cluster is asked for it: limits of the tier, and nothing that an agent could use against its host. Pure. */
import type {
  V1Affinity,
  V1Container,
  V1Pod,
  V1PodSpec,
  V1ResourceRequirements,
  V1Secret,
  V1Volume,
  V1VolumeMount,
} from "@kubernetes/client-node";
import type { WorkerSpec } from "../../../protocols/executor.ts";
import {
  ANNOTATIONS,
  type ClusterOwner,
  LABELS,
  type Labels,
  partLabels,
  podName,
  workerLabels,
} from "./labels.ts";
import { WORKER_CONTAINER } from "./pod.ts";

export interface PodSettings {
  readonly image: string;
  readonly pullPolicy: "Always" | "IfNotPresent" | "Never";
  readonly pullSecrets: readonly string[];
  /** Such as gVisor's or Kata's; undefined: the cluster's own. */
  readonly runtimeClass: string | undefined;
  /** Whom the cluster ends when it has not room for all; undefined: its own default. */
  readonly priorityClass: string | undefined;
  /** Which share of its limits of processors and memory a pod is sure of. */
  readonly requests: number;
  /** For all workers: nothing secret. */
  readonly env: Readonly<Record<string, string>>;
  /** From SIGTERM to SIGKILL. */
  readonly graceMs: number;
}

export interface PodPlan {
  readonly owner: ClusterOwner;
  readonly spec: WorkerSpec;
  /** Of a workspace that is kept. */
  readonly claim: string | undefined;
  /** Names that the worker has to know, with their addresses: it asks no name server. */
  readonly hosts: readonly { readonly name: string; readonly address: string }[];
  readonly settings: PodSettings;
}

const MIB = 1024 ** 2;
const USER = 1_000;
const HEALTH_PORT = 8_080;
const TMP_BYTES = 256 * MIB;
/** Beside its workspace: what it writes to its log, with some room. */
const OTHER_STORAGE_BYTES = 64 * MIB;
const IDENTITY_FILE = "identity";
/** Whose identity it is: the uid of one pod. */
const POD_FILE = "pod";
const HANDED_IN = "/run/berth-identity";
/** On what is memory, and emptied between jobs. */
const IDENTITY_PATH = `/tmp/${IDENTITY_FILE}`;
/** Where a workspace's volume is mounted; the workspace is a folder in it that is the worker's own. */
const MOUNT: Readonly<Record<WorkerSpec["workspace"], string>> = {
  job: "/tmp/berth",
  user: "/berth",
  tenant: "/berth",
};
const WORKSPACE_FOLDER = "workspace";
/** The cluster tells a worker of a machine that is lost only so long after it was. */
const LOST_MACHINE_SECONDS = 20;
const AGENTS_PATH = "/opt/agents/node_modules/.bin:/usr/local/bin:/usr/bin:/bin";

/** With all that is in it. */
export interface PodManifest extends V1Pod {
  readonly metadata: { name: string; labels: Labels; annotations: Labels };
  readonly spec: V1PodSpec;
}

export function podManifest(plan: PodPlan): PodManifest {
  const { owner, spec } = plan;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: podName(owner.deployment, spec.worker),
      labels: { ...workerLabels(owner, spec) },
      annotations: {
        [ANNOTATIONS.spec]: JSON.stringify(spec),
        [ANNOTATIONS.node]: owner.node,
        // What scales a cluster down must not end a job for that.
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
      },
    },
    spec: podSpec(plan),
  };
}

/** Named as its pod, and gone with it. Another pod of that name finds that it is not meant. */
export function identitySecret(
  pod: { readonly name: string; readonly uid: string },
  labels: Readonly<Record<string, string>>,
  identity: string,
): V1Secret {
  return {
    apiVersion: "v1",
    kind: "Secret",
    metadata: {
      name: pod.name,
      labels: { ...labels },
      ownerReferences: [{ apiVersion: "v1", kind: "Pod", name: pod.name, uid: pod.uid }],
    },
    type: "Opaque",
    immutable: true,
    stringData: { [IDENTITY_FILE]: identity, [POD_FILE]: pod.uid },
  };
}

function podSpec(plan: PodPlan): V1PodSpec {
  const { hosts, settings, spec } = plan;
  return {
    restartPolicy: "Never", // A worker that ends is its supervisor's to replace, under another id.
    terminationGracePeriodSeconds: Math.ceil(settings.graceMs / 1_000),
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    // The pod's first process reaps what agents leave: a Node process would not.
    shareProcessNamespace: true,
    ...(settings.runtimeClass === undefined ? {} : { runtimeClassName: settings.runtimeClass }),
    ...(settings.priorityClass === undefined ? {} : { priorityClassName: settings.priorityClass }),
    imagePullSecrets: settings.pullSecrets.map((name) => ({ name })),
    ...nameService(spec, hosts),
    ...(spec.workspace === "tenant" ? { affinity: besideItsFleet(plan) } : {}),
    securityContext: {
      runAsNonRoot: true,
      runAsUser: USER,
      runAsGroup: USER,
      fsGroup: USER,
      fsGroupChangePolicy: "OnRootMismatch",
      seccompProfile: { type: "RuntimeDefault" },
    },
    tolerations: ["not-ready", "unreachable"].map((what) => ({
      key: `node.kubernetes.io/${what}`,
      operator: "Exists",
      effect: "NoExecute",
      tolerationSeconds: LOST_MACHINE_SECONDS,
    })),
    initContainers: [identityContainer(plan)],
    containers: [workerContainer(plan)],
    volumes: volumes(plan),
  };
}

/** One machine mounts a workspace: those who share one run there. Whoever is the first may run anywhere. */
function besideItsFleet({ owner, spec }: PodPlan): V1Affinity {
  const { [LABELS.tenant]: tenant = "", [LABELS.workspace]: workspace = "" } = workerLabels(
    owner,
    spec,
  );
  const matchLabels = {
    ...partLabels(owner, "worker"),
    [LABELS.tenant]: tenant,
    [LABELS.workspace]: workspace,
  };
  const term = { labelSelector: { matchLabels }, topologyKey: "kubernetes.io/hostname" };
  return { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } };
}

/** Nobody is asked for a name, for data could leave by such a question. As in a container of the Docker driver. */
function nameService(
  { internet }: WorkerSpec,
  hosts: PodPlan["hosts"],
): Pick<V1PodSpec, "dnsPolicy" | "dnsConfig" | "hostAliases"> {
  return {
    hostAliases: hosts.map(({ address, name }) => ({ ip: address, hostnames: [name] })),
    ...(internet
      ? { dnsPolicy: "Default" }
      : {
          dnsPolicy: "None",
          dnsConfig: {
            nameservers: ["127.0.0.1"],
            options: [
              { name: "timeout", value: "1" },
              { name: "attempts", value: "1" },
            ],
          },
        }),
  };
}

/** Puts the identity where the worker can take it away: what a Secret is mounted at would stay readable for its jobs. */
function identityContainer(plan: PodPlan): V1Container {
  const root = workspaceRoot(plan.spec);
  const check = `[ "$(cat ${HANDED_IN}/${POD_FILE})" = "$POD_UID" ] || { echo 'the identity is of another pod' >&2; exit 1; }`;
  const copy = `mkdir -p -m 0700 ${root} && umask 077 && cat ${HANDED_IN}/${IDENTITY_FILE} > ${IDENTITY_PATH}`;
  return {
    ...common(plan),
    name: "identity",
    command: ["/bin/sh", "-c", `${check}; ${copy}`],
    env: [{ name: "POD_UID", valueFrom: { fieldRef: { fieldPath: "metadata.uid" } } }],
    terminationMessagePolicy: "FallbackToLogsOnError",
    volumeMounts: [
      ...mounts(plan.spec),
      { name: "handed-in", mountPath: HANDED_IN, readOnly: true },
    ],
  };
}

function workerContainer(plan: PodPlan): V1Container {
  const { settings, spec } = plan;
  const env = {
    BERTH_AGENT_PATH: AGENTS_PATH,
    ...settings.env,
    BERTH_IDENTITY: IDENTITY_PATH,
    BERTH_ISOLATED: "1",
    BERTH_HEALTH_PORT: String(HEALTH_PORT),
    BERTH_WORKSPACE: workspaceRoot(spec),
  };
  return {
    ...common(plan),
    name: WORKER_CONTAINER,
    env: Object.entries(env).map(([name, value]) => ({ name, value })),
    ports: [{ name: "health", containerPort: HEALTH_PORT }],
    // A machine that is busy with agents answers late; a worker that is silent is ended by its host long before.
    livenessProbe: {
      ...probe("/livez"),
      initialDelaySeconds: 10,
      periodSeconds: 20,
      failureThreshold: 6,
    },
    readinessProbe: { ...probe("/readyz"), periodSeconds: 10 },
    volumeMounts: mounts(spec),
  };
}

const probe = (path: string) => ({ httpGet: { path, port: HEALTH_PORT }, timeoutSeconds: 5 });

function common({
  settings,
  spec,
}: PodPlan): Pick<V1Container, "image" | "imagePullPolicy" | "resources" | "securityContext"> {
  return {
    image: settings.image,
    imagePullPolicy: settings.pullPolicy,
    resources: resources(spec, settings.requests),
    securityContext: {
      runAsNonRoot: true,
      readOnlyRootFilesystem: true,
      allowPrivilegeEscalation: false,
      privileged: false,
      capabilities: { drop: ["ALL"] },
    },
  };
}

function resources(spec: WorkerSpec, share: number): V1ResourceRequirements {
  const storage = (spec.workspace === "job" ? spec.storage_bytes : 0) + OTHER_STORAGE_BYTES;
  return {
    limits: {
      cpu: milli(spec.cpus),
      memory: String(spec.memory_bytes),
      "ephemeral-storage": String(storage),
    },
    requests: {
      cpu: milli(spec.cpus * share),
      memory: String(Math.ceil(spec.memory_bytes * share)),
      "ephemeral-storage": String(Math.ceil(storage * share)),
    },
  };
}

const milli = (cpus: number) => `${Math.max(1, Math.round(cpus * 1_000))}m`;

export function workspaceRoot({ workspace }: Pick<WorkerSpec, "workspace">): string {
  return `${MOUNT[workspace]}/${WORKSPACE_FOLDER}`;
}

function mounts({ workspace }: WorkerSpec): V1VolumeMount[] {
  return [
    { name: "tmp", mountPath: "/tmp" },
    { name: WORKSPACE_FOLDER, mountPath: MOUNT[workspace] },
  ];
}

function volumes({ claim, owner, spec }: PodPlan): V1Volume[] {
  const tmpBytes = Math.min(TMP_BYTES, Math.floor(spec.memory_bytes / 4));
  return [
    { name: "tmp", emptyDir: { medium: "Memory", sizeLimit: String(tmpBytes) } },
    {
      name: WORKSPACE_FOLDER,
      ...(claim === undefined
        ? { emptyDir: { sizeLimit: String(spec.storage_bytes) } }
        : { persistentVolumeClaim: { claimName: claim } }),
    },
    {
      name: "handed-in",
      secret: { secretName: podName(owner.deployment, spec.worker), defaultMode: 0o440 },
    },
  ];
}
