/** Kubernetes' rules for NetworkPolicies over namespaces: whom do the tree's own let reach whom? */
import { BlockList } from "node:net";
import { z } from "zod";
import { type Manifest, matches } from "./manifest.ts";

export interface Place {
  readonly address: string;
  readonly port: number;
  /** Undefined: no pod of the tree's namespaces. */
  readonly pod?: {
    readonly namespace: string;
    readonly labels: Readonly<Record<string, string>>;
  };
}

const labels = z.record(z.string(), z.string());
const selector = z.looseObject({ matchLabels: labels.optional() });
const peer = z.looseObject({
  podSelector: selector.optional(),
  namespaceSelector: selector.optional(),
  ipBlock: z.object({ cidr: z.string(), except: z.array(z.string()).default([]) }).optional(),
});
const rule = {
  ports: z.array(z.looseObject({ port: z.number() })).optional(),
};
const policySchema = z.looseObject({
  metadata: z.looseObject({ namespace: z.string() }),
  spec: z.looseObject({
    podSelector: selector,
    policyTypes: z.array(z.enum(["Ingress", "Egress"])),
    ingress: z.array(z.looseObject({ ...rule, from: z.array(peer).optional() })).default([]),
    egress: z.array(z.looseObject({ ...rule, to: z.array(peer).optional() })).default([]),
  }),
});
type Peer = z.infer<typeof peer>;

export function reaches(manifests: readonly Manifest[], from: Place, to: Place): boolean {
  return passes(manifests, "Egress", from, to) && passes(manifests, "Ingress", to, from);
}

/** What no policy of a selected pod admits is dropped; what none selects is free. */
function passes(
  manifests: readonly Manifest[],
  type: "Ingress" | "Egress",
  subject: Place,
  other: Place,
): boolean {
  const { pod } = subject;
  if (!pod) return true;
  const applied = manifests
    .filter(({ kind }) => kind === "NetworkPolicy")
    .map((manifest) => policySchema.parse(manifest))
    .filter(
      ({ metadata, spec }) =>
        metadata.namespace === pod.namespace &&
        spec.policyTypes.includes(type) &&
        matches(spec.podSelector.matchLabels, pod.labels),
    );
  if (applied.length === 0) return true;
  const port = type === "Egress" ? other.port : subject.port;
  return applied.some(({ metadata: { namespace }, spec }) =>
    (type === "Egress" ? spec.egress : spec.ingress).some((one) => {
      const peers = ("to" in one ? one.to : one["from"]) as readonly Peer[] | undefined;
      // An empty list is as none: all.
      const isPort = !one.ports?.length || one.ports.some((open) => open.port === port);
      return (
        isPort &&
        (!peers?.length || peers.some((each) => isPeer(manifests, each, other, namespace)))
      );
    }),
  );
}

function isPeer(
  manifests: readonly Manifest[],
  { ipBlock, namespaceSelector, podSelector }: Peer,
  { address, pod }: Place,
  near: string,
): boolean {
  if (ipBlock) return isWithin(address, [ipBlock.cidr]) && !isWithin(address, ipBlock.except);
  if (!pod) return false;
  const owner = manifests.find(
    ({ kind, metadata }) => kind === "Namespace" && metadata.name === pod.namespace,
  );
  const isNamespace = namespaceSelector
    ? matches(namespaceSelector.matchLabels, owner?.metadata.labels ?? {})
    : pod.namespace === near;
  return isNamespace && matches(podSelector?.matchLabels, pod.labels);
}

function isWithin(address: string, ranges: readonly string[]): boolean {
  const list = new BlockList();
  for (const range of ranges) {
    const [net = "", bits] = range.split("/");
    list.addSubnet(net, Number(bits), "ipv4");
  }
  return list.check(address, "ipv4");
}
