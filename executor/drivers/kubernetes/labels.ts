/**
 * Labels and names of everything that a driver makes in a cluster. The keys are those of the Docker driver, and of the
 * isolation policy's projection. Values are of at most 63 characters: a longer one is known by its hash, and the exact one
 * stands in an annotation.
 */
import { createHash } from "node:crypto";
import type { WorkerSpec } from "../../../protocols/executor.ts";
import { LABEL_NAMES } from "../label-names.ts";

/** Whose things these are. Pods belong to the node that started them, workspaces and policies to the whole deployment. */
export interface ClusterOwner {
  readonly deployment: string;
  readonly node: string;
}

export type Part = "worker" | "workspace" | "policy";

export const LABELS = {
  ...LABEL_NAMES,
  /** "true" of a worker whose tier leads out directly. */
  internet: "berth.internet",
  /** "true" of a worker that its tenant's others may talk to. */
  fleet: "berth.fleet",
} as const;

export const ANNOTATIONS = {
  /** Of a pod: its `WorkerSpec` as JSON, from which it is adopted. */
  spec: "berth.spec",
  /** Of a pod: its node's exact name. */
  node: "berth.node",
  /** Of a claim: whose workspace it is, exactly, and when it was last used in milliseconds since the epoch. */
  tenant: "berth.tenant",
  workspace: "berth.workspace",
  usedAt: "berth.used-at",
} as const;

export type Labels = Readonly<Record<string, string>>;

const LONGEST = 63;
const HASH_DIGITS = 10;

export function labelValue(text: string): string {
  return text.length <= LONGEST ? text : `h-${shortHash(text, 40)}`;
}

export function deploymentLabels({ deployment }: Pick<ClusterOwner, "deployment">): Labels {
  return { [LABELS.deployment]: labelValue(deployment) };
}

export function partLabels(owner: Pick<ClusterOwner, "deployment">, part: Part): Labels {
  return { ...deploymentLabels(owner), [LABELS.part]: part };
}

export function workerLabels(owner: ClusterOwner, spec: WorkerSpec): Labels {
  const { agent, internet, network, tenant, tier, user, worker, workspace } = spec;
  const exact = {
    [LABELS.node]: owner.node,
    [LABELS.tenant]: tenant,
    [LABELS.tier]: tier,
    [LABELS.incarnation]: worker,
    ...(user === undefined ? {} : { [LABELS.user]: user }),
    ...(agent === undefined ? {} : { [LABELS.agent]: agent }),
    ...(workspace === "job" ? {} : { [LABELS.workspace]: spec.workspace_key }),
    ...(internet ? { [LABELS.internet]: "true" } : {}),
    ...(network === "tenant" ? { [LABELS.fleet]: "true" } : {}),
  };
  const valid = Object.entries(exact).map(([key, value]) => [key, labelValue(value)]);
  return { ...partLabels(owner, "worker"), ...Object.fromEntries(valid) };
}

/** For the API's `labelSelector`. */
export function selectorOf(labels: Labels): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(",");
}

/** The cluster gives a name once, so a worker has at most one pod. */
export function podName(deployment: string, worker: string): string {
  return objectName("berth", deployment, worker);
}

export function claimName(deployment: string, tenant: string, key: string): string {
  return objectName("berth", deployment, tenant, key);
}

/** A name that the cluster takes. A hash of it all makes up for what had to be changed, and for where one part ends. */
export function objectName(...parts: readonly string[]): string {
  const plain = parts.join("-");
  const name = plain.toLowerCase().replaceAll("_", "-");
  // People read a worker's pod; of two deployments in one namespace neither is named as the other is with something behind it.
  if (parts.length < 4 && name === plain && name.length <= LONGEST) return name;
  const room = LONGEST - HASH_DIGITS - 1;
  return `${name.slice(0, room).replace(/-+$/, "")}-${shortHash(parts.join("/"), HASH_DIGITS)}`;
}

function shortHash(text: string, digits: number): string {
  return createHash("sha256").update(text).digest("hex").slice(0, digits);
}
