/** Ports that network policies open: is there somebody who listens? */
import { z } from "zod";
import { type Manifest, matches, nameOf, type Workload, workloadsOf } from "./manifest.ts";
import { hasPort } from "./reference-faults.ts";

const labels = z.record(z.string(), z.string());
const selector = z.looseObject({ matchLabels: labels.optional() });
const peerSchema = z.looseObject({
  podSelector: selector.optional(),
  namespaceSelector: selector.optional(),
  ipBlock: z.unknown().optional(),
});
const ports = z.array(z.looseObject({ port: z.union([z.string(), z.number()]) })).optional();
const policySchema = z.looseObject({
  spec: z.looseObject({
    podSelector: selector,
    ingress: z.array(z.looseObject({ ports })).default(() => []),
    egress: z.array(z.looseObject({ ports, to: z.array(peerSchema).optional() })).default(() => []),
  }),
});
export type Peer = z.infer<typeof peerSchema>;

/** Pods that the tree does not make: the cluster's and the mesh's own. */
const ELSEWHERE = new Set(["kube-dns", "istiod"]);

export function policyFaults(manifests: readonly Manifest[]): string[] {
  const workloads = workloadsOf(manifests);
  return manifests
    .filter(({ kind }) => kind === "NetworkPolicy")
    .flatMap((manifest) => [
      ...ingressFaults(manifest, workloads),
      ...egressFaults(manifest, manifests, workloads),
    ]);
}

function ingressFaults(manifest: Manifest, workloads: readonly Workload[]): string[] {
  const { spec } = policySchema.parse(manifest);
  const chosen = workloads.filter(
    ({ namespace, pod }) =>
      namespace === manifest.metadata.namespace &&
      matches(spec.podSelector.matchLabels, pod.metadata.labels),
  );
  return spec.ingress
    .flatMap((rule) => rule.ports ?? [])
    .filter(({ port }) => !chosen.some((workload) => hasPort(workload, port)))
    .map(({ port }) => `${nameOf(manifest)}: nobody listens on ${port}`);
}

function egressFaults(
  manifest: Manifest,
  manifests: readonly Manifest[],
  workloads: readonly Workload[],
): string[] {
  const { spec } = policySchema.parse(manifest);
  return spec.egress.flatMap((rule) =>
    (rule.to ?? [])
      .filter((peer) => peer.podSelector !== undefined && !isElsewhere(peer))
      .flatMap((peer) => {
        const near = manifest.metadata.namespace;
        const reached = workloads.filter(
          (workload) =>
            (peer.namespaceSelector !== undefined || workload.namespace === near) &&
            isPeer(manifests, peer, workload),
        );
        if (reached.length === 0) return [`${nameOf(manifest)}: leads to nobody`];
        return (rule.ports ?? [])
          .filter(({ port }) => !reached.some((workload) => hasPort(workload, port)))
          .map(({ port }) => `${nameOf(manifest)}: leads to ${port}, where nobody listens`);
      }),
  );
}

const isElsewhere = ({ podSelector }: Peer) =>
  Object.values(podSelector?.matchLabels ?? {}).some((value) => ELSEWHERE.has(value));

function isPeer(
  manifests: readonly Manifest[],
  { namespaceSelector, podSelector }: Peer,
  { namespace, pod }: Workload,
): boolean {
  const owner = manifests.find(
    ({ kind, metadata }) => kind === "Namespace" && metadata.name === namespace,
  );
  return (
    matches(namespaceSelector?.matchLabels, owner?.metadata.labels ?? {}) &&
    matches(podSelector?.matchLabels, pod.metadata.labels)
  );
}
