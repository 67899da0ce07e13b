/** The isolation policy's projection, cut to the workers of one deployment: what the driver keeps in the workers' namespace. Pure. */
import { isIP } from "node:net";
import type { Policy } from "../../../protocols/isolation.ts";
import {
  type LabelSelector,
  type NetworkPolicyRule,
  networkPolicies,
} from "../../../runtime/isolation/network-policies.ts";
import {
  type ClusterOwner,
  deploymentLabels,
  LABELS,
  type Labels,
  labelValue,
  objectName,
  partLabels,
} from "./labels.ts";

/** As the API takes it: the client library's types have other names for some of it. */
export interface NamedPolicy {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels: Labels };
  readonly spec: PolicySpec;
}

interface PolicySpec {
  readonly podSelector: LabelSelector;
  readonly policyTypes: readonly ("Ingress" | "Egress")[];
  readonly ingress?: readonly NetworkPolicyRule[];
  readonly egress?: readonly NetworkPolicyRule[];
}

type Peer = NonNullable<NetworkPolicyRule["to"]>[number] & {
  readonly namespaceSelector?: LabelSelector;
};

/** Where workers find something of the platform's. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export interface WorkerReach {
  readonly brokers: readonly Endpoint[];
  /** Undefined: there is no proxy. */
  readonly egress: Endpoint | undefined;
}

/** What their pods are called: the proxy is a part of every node (ADR 17). */
const PODS = { broker: "broker", egress: "node" } as const;

/** By the labels of its pods, in whatever namespace they are; or by its address where it is no pod of the cluster. */
function peerOf(part: "broker" | "egress", { host }: Endpoint): Peer {
  if (isIP(host) !== 0) return { ipBlock: { cidr: `${host}/${isIP(host) === 4 ? 32 : 128}` } };
  return { namespaceSelector: {}, podSelector: { matchLabels: { [LABELS.part]: PODS[part] } } };
}

const rule = (part: "broker" | "egress", at: Endpoint): NetworkPolicyRule => ({
  to: [peerOf(part, at)],
  ports: [{ protocol: "TCP", port: at.port }],
});

/**
 * None is wider than the projection: what the policy does not let a container reach is in none of them. `fleets`: tenants whose
 * workers may talk to each other.
 */
export function workerPolicies(
  policy: Policy,
  owner: Pick<ClusterOwner, "deployment">,
  { brokers, egress }: WorkerReach,
  fleets: readonly string[] = [],
): NamedPolicy[] {
  const ports = { broker: brokers[0]?.port ?? 0, egress: egress?.port ?? 0, api: 0 };
  const projected = networkPolicies(policy, { ports, fleets });
  const hasFleets = projected.some(({ metadata }) => metadata.name.startsWith("berth-fleet-"));
  const reaches = (part: string) =>
    (projected.find(({ metadata }) => metadata.name === "berth-worker")?.spec.egress ?? []).some(
      ({ to = [] }) => to.some((peer) => peer.podSelector?.matchLabels?.[LABELS.part] === part),
    );
  const worker = partLabels(owner, "worker");
  return [
    named(owner, "default-deny", {
      podSelector: { matchLabels: { ...deploymentLabels(owner) } },
      policyTypes: ["Ingress", "Egress"],
    }),
    named(owner, "worker", {
      podSelector: { matchLabels: { ...worker } },
      policyTypes: ["Ingress", "Egress"],
      ingress: [],
      egress: [
        ...(reaches("broker") ? brokers.map((one) => rule("broker", one)) : []),
        ...(egress !== undefined && reaches("egress") ? [rule("egress", egress)] : []),
      ],
    }),
    named(owner, "internet", {
      podSelector: { matchLabels: { ...worker, [LABELS.internet]: "true" } },
      policyTypes: ["Egress"],
      egress: [{ to: [{ ipBlock: { cidr: "0.0.0.0/0", except: NEVER } }] }],
    }),
    ...(hasFleets ? fleets.map((tenant) => fleetPolicy(owner, tenant)) : []),
  ];
}

function fleetPolicy(owner: Pick<ClusterOwner, "deployment">, tenant: string): NamedPolicy {
  const fleet = {
    matchLabels: {
      ...partLabels(owner, "worker"),
      [LABELS.tenant]: labelValue(tenant),
      [LABELS.fleet]: "true",
    },
  };
  return named(owner, `fleet-${tenant}`, {
    podSelector: fleet,
    policyTypes: ["Ingress", "Egress"],
    ingress: [{ from: [{ podSelector: fleet }] }],
    egress: [{ to: [{ podSelector: fleet }] }],
  });
}

/** What even a tier with a way out of its own does not reach: private networks and services of the machine. */
const NEVER = ["10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"];

function named(
  owner: Pick<ClusterOwner, "deployment">,
  name: string,
  spec: PolicySpec,
): NamedPolicy {
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: {
      name: objectName("berth", owner.deployment, name),
      labels: { ...partLabels(owner, "policy") },
    },
    spec,
  };
}
