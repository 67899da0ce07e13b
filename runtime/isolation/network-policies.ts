/**
 * The isolation policy as Kubernetes NetworkPolicies: a pure projection. Pods carry `berth.part` (`worker`, `node`,
 * `gateway`, `broker`, `egress`), and a worker's pod its tenant and user as the engine's containers do.
 */
import type { Policy, PrincipalKind } from "../../protocols/isolation.ts";
import { type ContainerReach, containerReach } from "./container-reach.ts";

export interface LabelSelector {
  readonly matchLabels?: Readonly<Record<string, string>>;
}
export interface NetworkPolicyPeer {
  readonly podSelector?: LabelSelector;
  readonly ipBlock?: { readonly cidr: string; readonly except?: readonly string[] };
}
export interface NetworkPolicyRule {
  readonly from?: readonly NetworkPolicyPeer[];
  readonly to?: readonly NetworkPolicyPeer[];
  /** Absent: all. */
  readonly ports?: readonly { readonly protocol: "TCP" | "UDP"; readonly port: number }[];
}
export interface NetworkPolicy {
  readonly apiVersion: "networking.k8s.io/v1";
  readonly kind: "NetworkPolicy";
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  readonly spec: {
    readonly podSelector: LabelSelector;
    readonly policyTypes: readonly ("Ingress" | "Egress")[];
    readonly ingress?: readonly NetworkPolicyRule[];
    readonly egress?: readonly NetworkPolicyRule[];
  };
}

const PART_LABEL = "berth.part";
const TENANT_LABEL = "berth.tenant";
const FLEET_LABEL = "berth.fleet";

export interface PolicyPorts {
  readonly broker: number;
  readonly egress: number;
  readonly api: number;
}

const part = (name: string): LabelSelector => ({ matchLabels: { [PART_LABEL]: name } });
const tcp = (port: number) => [{ protocol: "TCP", port }] as const;

/** For all of a deployment; `fleets` are the tenants whose workers may talk to each other, each among themselves. */
export function networkPolicies(
  policy: Policy,
  { ports, fleets }: { readonly ports: PolicyPorts; readonly fleets: readonly string[] },
): NetworkPolicy[] {
  const reach = containerReach(policy);
  return [
    named("berth-default-deny", {
      podSelector: {},
      policyTypes: ["Ingress", "Egress"],
    }),
    named("berth-worker", {
      podSelector: part("worker"),
      policyTypes: ["Ingress", "Egress"],
      ingress: [],
      egress: workerEgress(reach, ports),
    }),
    named("berth-broker", {
      podSelector: part("broker"),
      policyTypes: ["Ingress"],
      ingress: [
        {
          from: brokersClients(policy).map((name) => ({ podSelector: part(name) })),
          ports: tcp(ports.broker),
        },
      ],
    }),
    named("berth-egress", {
      podSelector: part("egress"),
      policyTypes: ["Ingress"],
      ingress:
        reach.egress === "any"
          ? [{ from: [{ podSelector: part("worker") }], ports: tcp(ports.egress) }]
          : [],
    }),
    ...(["node", "gateway"] as const).map((kind) => platformPolicy(policy, kind, ports)),
    ...(reach.container === "fleet" ? fleets.map(fleetPolicy) : []),
  ];
}

const METADATA = "169.254.0.0/16";
const PRIVATE = ["10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16"];
const anywhere = (except: readonly string[]): NetworkPolicyRule => ({
  to: [{ ipBlock: { cidr: "0.0.0.0/0", except } }],
});
const DNS: NetworkPolicyRule = {
  ports: [
    { protocol: "UDP", port: 53 },
    { protocol: "TCP", port: 53 },
  ],
};

/** Nodes also speak to the cluster's own API, gateways to whoever publishes keys. */
function platformPolicy(
  policy: Policy,
  kind: "node" | "gateway",
  ports: PolicyPorts,
): NetworkPolicy {
  const mayConnect = (to: "broker" | "api" | "internet" | "host") =>
    policy.some(
      ({ principal, action, resources }) =>
        principal === kind && action === "connect" && resources.includes(to),
    );
  return named(`berth-${kind}`, {
    podSelector: part(kind),
    policyTypes: ["Ingress", "Egress"],
    ingress: kind === "gateway" ? apiIngress(policy, ports) : [],
    egress: [
      DNS,
      ...(mayConnect("broker")
        ? [{ to: [{ podSelector: part("broker") }], ports: tcp(ports.broker) }]
        : []),
      ...(mayConnect("api")
        ? [{ to: [{ podSelector: part("gateway") }], ports: tcp(ports.api) }]
        : []),
      ...(mayConnect("internet")
        ? [anywhere(mayConnect("host") ? [METADATA] : [METADATA, ...PRIVATE])]
        : []),
    ],
  });
}

function workerEgress(reach: ContainerReach, ports: PolicyPorts): NetworkPolicyRule[] {
  const to = (name: string, port: number) => ({
    to: [{ podSelector: part(name) }],
    ports: tcp(port),
  });
  return [
    ...(reach.broker === "any" ? [to("broker", ports.broker)] : []),
    ...(reach.egress === "any" ? [to("egress", ports.egress)] : []),
    ...(reach.api === "any" ? [to("gateway", ports.api)] : []),
  ];
}

const PARTS: Partial<Record<PrincipalKind, string>> = {
  container: "worker",
  gateway: "gateway",
  node: "node",
};

function brokersClients(policy: Policy): string[] {
  const kinds = policy
    .filter(({ action, resources }) => action === "connect" && resources.includes("broker"))
    .flatMap(({ principal }) => PARTS[principal] ?? []);
  return [...new Set(kinds)].toSorted();
}

const PEOPLE: readonly PrincipalKind[] = ["user", "tenantAdmin", "operator"];

/** They come from outside: whoever may use the API at all. */
function apiIngress(policy: Policy, ports: PolicyPorts): NetworkPolicyRule[] {
  const isPublic = policy.some(
    ({ principal, action, resources }) =>
      PEOPLE.includes(principal) && action === "connect" && resources.includes("api"),
  );
  return isPublic ? [{ ports: tcp(ports.api) }] : [];
}

/** What a tenant's own workers say to each other is theirs. */
function fleetPolicy(tenant: string): NetworkPolicy {
  const fleet = {
    matchLabels: { [PART_LABEL]: "worker", [TENANT_LABEL]: tenant, [FLEET_LABEL]: "true" },
  };
  return named(`berth-fleet-${tenant}`, {
    podSelector: fleet,
    policyTypes: ["Ingress", "Egress"],
    ingress: [{ from: [{ podSelector: fleet }] }],
    egress: [{ to: [{ podSelector: fleet }] }],
  });
}

function named(name: string, spec: NetworkPolicy["spec"]): NetworkPolicy {
  return { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name }, spec };
}
