/** What each projection of the isolation policy answers to a probe. Undefined: it is not its question. */
import { type RouteReach, routeReach } from "../../gateway/auth/scopes.ts";
import {
  CHANNELS,
  DOORS,
  HOLDINGS,
  type Policy,
  type Principal,
  type Probe,
  type RouteGroup,
} from "../../protocols/isolation.ts";
import type { Scope } from "../../protocols/records.ts";
import { BUCKETS } from "../../protocols/subjects.ts";
import { type ContainerReach, containerReach } from "../../runtime/isolation/container-reach.ts";
import { matchesSubject, natsPermissions } from "../../runtime/isolation/nats-permissions.ts";
import { type NetworkPolicy, networkPolicies } from "../../runtime/isolation/network-policies.ts";
import { streamName } from "../../runtime/isolation/store-subjects.ts";
import { subjectOf } from "./isolation.ts";
import { admits, endpointOf } from "./network-policy-judge.ts";

export interface Projections {
  readonly nats: typeof natsPermissions;
  readonly reach: (policy: Policy) => ContainerReach;
  readonly kubernetes: (policy: Policy) => readonly NetworkPolicy[];
  readonly gateway: typeof routeReach;
}

export const PORTS = { broker: 4222, egress: 3128, api: 8000 };
export const PROJECTIONS: Projections = {
  nats: natsPermissions,
  reach: containerReach,
  kubernetes: (policy) => networkPolicies(policy, { ports: PORTS, fleets: ["initech", "hooli"] }),
  gateway: routeReach,
};

export type Answer = boolean | undefined;
export type Judge = (probe: Probe) => Answer;

const isIn = (list: readonly string[], kind: string) => list.includes(kind);

/** Subjects that the probe's action needs. */
export function subjectsOf({ action, resource }: Probe): readonly string[] {
  const { kind, name = "" } = resource;
  if (isIn(CHANNELS, kind)) return [subjectOf(resource)];
  if (kind !== "stream" && kind !== "bucket") return [];
  const stream = streamName(kind, name);
  if (action === "read")
    return [`$JS.API.STREAM.MSG.GET.${stream}`, `$JS.API.CONSUMER.CREATE.${stream}.c.x`];
  if (action === "remove") return [`$JS.API.STREAM.MSG.DELETE.${stream}`];
  if (action === "administer") return [`$JS.API.STREAM.DELETE.${stream}`];
  return [`$KV.${BUCKETS[name as keyof typeof BUCKETS]}.some.key`];
}

export function natsJudge(policy: Policy, { nats }: Projections): Judge {
  const known = new Map<Principal, ReturnType<Projections["nats"]>>();
  return (probe) => {
    const subjects = subjectsOf(probe);
    if (subjects.length === 0) return undefined;
    const permissions = known.get(probe.principal) ?? nats(policy, probe.principal);
    known.set(probe.principal, permissions);
    const { publish, subscribe } = permissions;
    const patterns = probe.action === "subscribe" ? subscribe : publish;
    return subjects.every((subject) =>
      patterns.some((pattern) => matchesSubject(pattern, subject)),
    );
  };
}

export function dockerJudge(policy: Policy, { reach }: Projections): Judge {
  const open = reach(policy);
  return ({ principal, resource: { kind, owner } }) => {
    if (principal.kind !== "container" || !isIn(DOORS, kind)) return undefined;
    const door = open[kind as keyof ContainerReach];
    if (door !== "fleet") return door === "any";
    return networkOf(principal) === networkOf(owner) && isFleet(principal);
  };
}

/** As the driver names networks: shared, by user, by tenant. */
const isFleet = ({ tenant, user }: Principal) => tenant !== undefined && user === undefined;
const networkOf = ({ tenant, user }: Principal) =>
  tenant === undefined ? "shared" : `${tenant}/${user ?? ""}`;

const SCOPES: Partial<Record<Principal["kind"], Scope>> = {
  user: "user",
  tenantAdmin: "tenant_admin",
  operator: "operator",
};

export function kubernetesJudge(policy: Policy, { kubernetes }: Projections): Judge {
  const policies = kubernetes(policy);
  return ({ principal, resource }) => {
    if (!isIn(DOORS, resource.kind) || principal.kind === "supervisor") return undefined;
    // What lies outside a cluster is not the cluster's to keep from who is outside, too.
    const isOutside = ["host", "metadata", "internet"].includes(resource.kind);
    if (isOutside && SCOPES[principal.kind] !== undefined) return undefined;
    return admits(policies, endpointOf(principal), endpointOf(resource.owner, resource.kind));
  };
}

export function gatewayJudge(policy: Policy, { gateway }: Projections): Judge {
  return ({ principal, action, resource: { kind, name, owner } }) => {
    if (kind !== "route") return undefined;
    const scope = SCOPES[principal.kind];
    if (scope === undefined) return false;
    const reach: RouteReach = gateway(
      policy,
      scope,
      name as RouteGroup,
      action === "read" ? "read" : "write",
    );
    if (reach === "none" || reach === "any") return reach === "any";
    if (principal.tenant !== owner.tenant) return false;
    return reach === "tenant" || principal.user === owner.user;
  };
}

/** Labels and names: what a supervisor's orders and a container's mounts go by. */
export const engineJudge: Judge = ({ principal, action, resource: { kind, owner } }) => {
  if (!isIn(HOLDINGS, kind)) return undefined;
  if (action === "control")
    return (
      principal.kind === "node" ||
      (principal.kind === "supervisor" && principal.tenant === owner.tenant)
    );
  if (kind === "sandbox" || principal.kind !== "container") return false;
  return owner.tenant !== undefined && networkOf(principal) === networkOf(owner);
};
