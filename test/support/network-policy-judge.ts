/** Kubernetes' rules for NetworkPolicies, as far as ours use them: what no policy of a selected pod admits is dropped. */
import { BlockList } from "node:net";
import type { Principal, ResourceKind } from "../../protocols/isolation.ts";
import type {
  LabelSelector,
  NetworkPolicy,
  NetworkPolicyPeer,
  NetworkPolicyRule,
} from "../../runtime/isolation/network-policies.ts";

export interface Endpoint {
  /** Undefined: not a pod. */
  readonly labels: Readonly<Record<string, string>> | undefined;
  readonly address: string;
  readonly port: number;
}

const PARTS: Partial<Record<Principal["kind"], string>> = {
  container: "worker",
  gateway: "gateway",
  node: "node",
};
const OUTSIDE = "203.0.113.9";
const DOORS: Partial<
  Record<ResourceKind, Omit<Endpoint, "address"> & { readonly address?: string }>
> = {
  broker: { labels: { "berth.part": "broker" }, port: 4222 },
  egress: { labels: { "berth.part": "egress" }, port: 3128 },
  api: { labels: { "berth.part": "gateway" }, port: 8000 },
  host: { labels: undefined, address: "10.1.2.3", port: 22 },
  metadata: { labels: undefined, address: "169.254.169.254", port: 80 },
  internet: { labels: undefined, address: OUTSIDE, port: 443 },
};

/** The pod of a principal, or what is behind a door. People come from outside. */
export function endpointOf(principal: Principal, door?: ResourceKind): Endpoint {
  const behind = door === undefined ? undefined : DOORS[door];
  if (behind) return { address: "10.42.0.9", ...behind };
  const name = PARTS[principal.kind];
  if (name === undefined) return { labels: undefined, address: OUTSIDE, port: 0 };
  const { tenant, user } = principal;
  const labels = {
    "berth.part": name,
    ...(tenant === undefined ? {} : { "berth.tenant": tenant }),
    ...(tenant !== undefined && user === undefined ? { "berth.fleet": "true" } : {}),
  };
  return { labels, address: "10.42.0.7", port: 9_000 };
}

export function admits(policies: readonly NetworkPolicy[], from: Endpoint, to: Endpoint): boolean {
  return passes(policies, "Egress", from, to) && passes(policies, "Ingress", to, from);
}

function passes(
  policies: readonly NetworkPolicy[],
  type: "Ingress" | "Egress",
  subject: Endpoint,
  peer: Endpoint,
): boolean {
  const { labels } = subject;
  if (labels === undefined) return true;
  const applied = policies.filter(
    ({ spec }) => spec.policyTypes.includes(type) && selects(spec.podSelector, labels),
  );
  if (applied.length === 0) return true;
  const port = type === "Egress" ? peer.port : subject.port;
  return applied.some(({ spec }) =>
    (type === "Egress" ? spec.egress : spec.ingress)?.some((rule) => meets(rule, peer, port)),
  );
}

function meets(rule: NetworkPolicyRule, peer: Endpoint, port: number): boolean {
  const peers = rule.to ?? rule.from;
  const isPort = rule.ports === undefined || rule.ports.some((one) => one.port === port);
  return isPort && (peers === undefined || peers.some((one) => isPeer(one, peer)));
}

function isPeer(
  { podSelector, ipBlock }: NetworkPolicyPeer,
  { labels, address }: Endpoint,
): boolean {
  if (podSelector !== undefined) return labels !== undefined && selects(podSelector, labels);
  if (ipBlock === undefined) return false;
  return (
    contains(ipBlock.cidr, address) && !ipBlock.except?.some((cidr) => contains(cidr, address))
  );
}

function contains(cidr: string, address: string): boolean {
  const [network = "", bits] = cidr.split("/");
  const list = new BlockList();
  list.addSubnet(network, Number(bits));
  return list.check(address);
}

function selects(
  { matchLabels = {} }: LabelSelector,
  labels: Readonly<Record<string, string>>,
): boolean {
  return Object.entries(matchLabels).every(([name, value]) => labels[name] === value);
}
