/** What of a pod this driver looks at, read from what the API gives. */
import { type WorkerSpec, workerSpecSchema } from "../../../protocols/executor.ts";
import { ANNOTATIONS } from "./labels.ts";

/** A container's end. */
export interface ContainerEnd {
  readonly exitCode: number;
  readonly reason: string;
  /** What it left as its last word, where it is asked for one. */
  readonly message: string;
}

export interface PodContainer {
  readonly state: "waiting" | "running" | "ended";
  /** Why it waits, such as `ErrImagePull`, with the runtime's sentence. */
  readonly reason: string;
  readonly message: string;
  readonly end: ContainerEnd | undefined;
}

/** An object is its name and its uid: the name can be given again. */
export interface SandboxRef {
  readonly name: string;
  readonly uid: string;
}

export interface Pod {
  readonly name: string;
  readonly uid: string;
  readonly phase: string;
  /** Of the pod as a whole, such as `Evicted`. */
  readonly reason: string;
  readonly message: string;
  readonly address: string | undefined;
  /** Somebody asked for its end. */
  readonly isLeaving: boolean;
  /** Bounds of that end, as it was asked for. */
  readonly graceSeconds: number;
  /** Undefined: whoever made it is none of us. */
  readonly spec: WorkerSpec | undefined;
  readonly node: string;
  /** That of agent-sandbox which had it made, and makes another when it is gone; undefined: none does. */
  readonly sandbox: SandboxRef | undefined;
  /** Names of the claims that it mounts. */
  readonly claims: readonly string[];
  /** Those that come first, and the worker's own, as far as the cluster has told of them. */
  readonly containers: readonly PodContainer[];
  /** The worker's own; undefined while nothing is known of it. */
  readonly worker: PodContainer | undefined;
  /** The scheduler's sentence while it finds no place; undefined: it has one, or has not looked yet. */
  readonly unschedulable: string | undefined;
  /** The cluster ends it for having lost its machine, and says so. */
  readonly isOutOfSight: boolean;
}

export const WORKER_CONTAINER = "worker";
export const SANDBOX_GROUP = "agents.x-k8s.io";
export const SANDBOX_KIND = "Sandbox";

interface RawState {
  readonly waiting?: { readonly reason?: string; readonly message?: string };
  readonly running?: object;
  readonly terminated?: {
    readonly exitCode: number;
    readonly reason?: string;
    readonly message?: string;
  };
}

interface RawStatus {
  readonly name: string;
  readonly state?: RawState;
}

interface RawOwner extends SandboxRef {
  readonly apiVersion: string;
  readonly kind: string;
  readonly controller?: boolean;
}

/** As the API writes it. */
export interface RawPod {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly resourceVersion?: string;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly ownerReferences?: readonly RawOwner[];
    readonly deletionTimestamp?: string;
    readonly deletionGracePeriodSeconds?: number;
  };
  readonly spec: {
    readonly volumes?: readonly {
      readonly persistentVolumeClaim?: { readonly claimName: string };
    }[];
  };
  readonly status?: {
    readonly phase?: string;
    readonly reason?: string;
    readonly message?: string;
    readonly podIP?: string;
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason?: string;
      readonly message?: string;
    }[];
    readonly initContainerStatuses?: readonly RawStatus[];
    readonly containerStatuses?: readonly RawStatus[];
  };
}

export function readPod({ metadata, spec, status = {} }: RawPod): Pod {
  const conditions = status.conditions ?? [];
  const scheduled = conditions.find(({ type }) => type === "PodScheduled");
  const disruption = conditions.find(({ type }) => type === "DisruptionTarget");
  const first = status.initContainerStatuses ?? [];
  const own = status.containerStatuses ?? [];
  const worker = own.find(({ name }) => name === WORKER_CONTAINER);
  return {
    name: metadata.name,
    uid: metadata.uid,
    phase: status.phase ?? "Pending",
    reason: status.reason ?? "",
    message: status.message ?? "",
    address: status.podIP,
    isLeaving: metadata.deletionTimestamp !== undefined,
    graceSeconds: metadata.deletionGracePeriodSeconds ?? 0,
    spec: specIn(metadata.annotations?.[ANNOTATIONS.spec]),
    node: metadata.annotations?.[ANNOTATIONS.node] ?? "",
    sandbox: sandboxIn(metadata.ownerReferences),
    claims: (spec.volumes ?? []).flatMap(
      ({ persistentVolumeClaim: claim }) => claim?.claimName ?? [],
    ),
    containers: [...first, ...own].map(readContainer),
    worker: worker && readContainer(worker),
    unschedulable:
      scheduled?.status === "False" && scheduled.reason === "Unschedulable"
        ? (scheduled.message ?? "no machine fits")
        : undefined,
    isOutOfSight: status.reason === "NodeLost" || disruption?.reason === "DeletionByTaintManager",
  };
}

/** No process of it is left, by the word of the machine that it ran on. */
export function hasEnded({ containers, phase, worker }: Pod): boolean {
  if (phase === "Failed" || phase === "Succeeded") return true;
  return worker !== undefined && containers.every(({ state }) => state === "ended");
}

function readContainer({ state = {} }: RawStatus): PodContainer {
  const { running, terminated, waiting } = state;
  const end = terminated && {
    exitCode: terminated.exitCode,
    reason: terminated.reason ?? "",
    message: terminated.message ?? "",
  };
  return {
    state: terminated ? "ended" : running ? "running" : "waiting",
    reason: waiting?.reason ?? "",
    message: waiting?.message ?? "",
    end,
  };
}

/** Of whichever version of its API. */
function sandboxIn(owners: readonly RawOwner[] = []): SandboxRef | undefined {
  const owner = owners.find(
    ({ apiVersion, controller, kind }) =>
      controller === true && kind === SANDBOX_KIND && apiVersion.startsWith(`${SANDBOX_GROUP}/`),
  );
  return owner && { name: owner.name, uid: owner.uid };
}

export function specIn(text: string | undefined): WorkerSpec | undefined {
  try {
    return workerSpecSchema.parse(JSON.parse(text ?? ""));
  } catch {
    return undefined;
  }
}
