/** Labels of everything that a driver makes in an engine: whose it is, and for whom. Labels of the engine never change. */
import { createHash } from "node:crypto";
import type { WorkerSpec } from "../../../protocols/executor.ts";
import { LABEL_NAMES } from "../label-names.ts";

/** Whose things these are: one node of one deployment. No other node touches them while that one lives. */
export interface EngineOwner {
  readonly deployment: string;
  readonly node: string;
}

export const PARTS = ["worker", "dormant", "network", "workspace"] as const;
export type Part = (typeof PARTS)[number];

export const LABELS = {
  ...LABEL_NAMES,
  /** Of a worker: its `WorkerSpec` as JSON, from which it is adopted. */
  spec: "berth.spec",
} as const;

export type Labels = Readonly<Record<string, string>>;

export function partLabels({ deployment, node }: EngineOwner, part: Part): Labels {
  return { [LABELS.deployment]: deployment, [LABELS.node]: node, [LABELS.part]: part };
}

/** For whom a thing is, as far as the spec says. */
export function specLabels(
  spec: Omit<WorkerSpec, "worker"> & { readonly worker?: string },
): Labels {
  return {
    [LABELS.tenant]: spec.tenant,
    [LABELS.user]: spec.user ?? "",
    [LABELS.tier]: spec.tier,
    [LABELS.agent]: spec.agent ?? "",
    ...(spec.worker === undefined ? {} : { [LABELS.incarnation]: spec.worker }),
  };
}

/** The engine's filter for one part of ours, or for all that is ours. */
export function filterOf(owner: EngineOwner, part?: Part): { readonly label: string[] } {
  const own = [`${LABELS.deployment}=${owner.deployment}`, `${LABELS.node}=${owner.node}`];
  return { label: part === undefined ? own : [...own, `${LABELS.part}=${part}`] };
}

/** The engine gives a name once, so a worker has at most one container. */
export function containerName(deployment: string, worker: string): string {
  return `berth-${deployment}-${worker}`;
}

/** Short and stable: for names that have a bound, such as those of network devices. */
export function shortHash(text: string, digits: number): string {
  return createHash("sha256").update(text).digest("hex").slice(0, digits);
}
