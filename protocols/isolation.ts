/**
 * The words of the isolation policy, and its reference answer. Who may talk to whom is data (`isolation-policy.ts`); NATS
 * permissions, Docker networks, Kubernetes NetworkPolicies and the gateway's scopes are pure projections of it, and tests
 * ask all of them the same questions.
 */

/**
 * Who asks. `container`: a worker, in which a tenant's agents run, be it a process. `supervisor`: a tenant's supervisor actor.
 * `operator`, `tenantAdmin`, `user`: whoever has an API credential of that scope.
 */
export const PRINCIPAL_KINDS = [
  "operator",
  "gateway",
  "node",
  "supervisor",
  "tenantAdmin",
  "user",
  "container",
] as const;
export type PrincipalKind = (typeof PRINCIPAL_KINDS)[number];

/** The id of a credential that all of a kind share, such as the workers of one machine. */
export const ANY_ONE = "*";

export interface Principal {
  readonly kind: PrincipalKind;
  /** A container's worker id, a node's id, a user's id; `ANY_ONE` for a shared credential. */
  readonly id: string;
  /** Absent for what belongs to the platform. */
  readonly tenant?: string;
  /** Absent for what belongs to a tenant as a whole. */
  readonly user?: string;
}

/** Subjects of the broker. */
export const CHANNELS = [
  /** Frames of a container's jobs, on their way to sessions. */
  "uplink",
  "hello",
  "beat",
  /** Orders to a container. */
  "downlink",
  /** Answers to a principal's own requests. */
  "inbox",
  "mail",
  "asks",
  "journal",
  "live",
  "reminders",
  "deadLetters",
  "audit",
  "drivers",
  "nodes",
  /** Requests to the vault: to seal what a user gives, never to open. */
  "vault",
  /** Requests to whoever holds the broker's operator key. */
  "accounts",
  /** The broker's service discovery. */
  "services",
  /** What the broker asks of its API before anything else: whether there is JetStream. */
  "brokerInfo",
  "system",
] as const;
/** Stored data: `name` says which stream or bucket, as in `STREAMS` and `BUCKETS`. */
export const STORES = ["stream", "bucket"] as const;
/** Network endpoints. */
export const DOORS = [
  /** The broker, or the door that leads to it. */
  "broker",
  /** The proxy that knows which hosts a tenant may reach. */
  "egress",
  /** The gateway's listener. */
  "api",
  /** Another container. */
  "container",
  /** Services of a host that are none of the above, and private addresses behind it. */
  "host",
  "metadata",
  "internet",
] as const;
/** Things that the engine keeps for a tenant. */
export const HOLDINGS = ["sandbox", "network", "volume"] as const;
/** Routes of the gateway: `name` says which group, as in `ROUTES`. */
export const ROUTES = [
  "account",
  "agents",
  /** Making a session or a job, always the caller's own. */
  "submission",
  "sessions",
  "jobs",
  "credentials",
  "keys",
  "tenants",
  "workers",
  "workerLogs",
  "queues",
  "nodes",
  "actors",
  "deadLetters",
  "audit",
  /** The vault's keys, never what is sealed under them. */
  "vault",
] as const;
export type Channel = (typeof CHANNELS)[number];
export type Store = (typeof STORES)[number];
export type Door = (typeof DOORS)[number];
export type Holding = (typeof HOLDINGS)[number];
export type RouteGroup = (typeof ROUTES)[number];
export type ResourceKind = Channel | Store | Door | Holding | "route";

export interface Resource {
  readonly kind: ResourceKind;
  /** Of a store or a route. */
  readonly name?: string;
  /** Whom it belongs to: the container of an uplink, the reader of an inbox, the user of a job. */
  readonly owner: Principal;
}

/**
 * `answer`: publish to the reply subject of a request that was received, and nothing else. `administer`: make, change,
 * empty and remove a store. `use`: join a network, mount a volume. `control`: start, stop, remove.
 */
export const ACTIONS = [
  "publish",
  "subscribe",
  "answer",
  "connect",
  "read",
  "write",
  "remove",
  "administer",
  "use",
  "control",
] as const;
export type Action = (typeof ACTIONS)[number];

/**
 * `own`: what belongs to the principal itself. `user`, `tenant`: to its user, to its tenant. `fleet`: to its tenant as a
 * whole and to no user of it, if the principal does so, too.
 */
export type GrantScope = "own" | "user" | "fleet" | "tenant" | "any";

export interface Grant {
  readonly principal: PrincipalKind;
  readonly action: Action;
  readonly resources: readonly ResourceKind[];
  /** Which stores or route groups; absent is all. */
  readonly names?: readonly string[];
  readonly scope: GrantScope;
}
export type Policy = readonly Grant[];

export interface Probe {
  readonly principal: Principal;
  readonly action: Action;
  readonly resource: Resource;
}

/** The grants that answer a probe with yes; what none grants is refused. */
export function grantsOf(policy: Policy, { principal, action, resource }: Probe): Policy {
  return policy.filter(
    (grant) =>
      grant.principal === principal.kind &&
      grant.action === action &&
      grant.resources.includes(resource.kind) &&
      covers(grant, resource.name) &&
      isWithin(grant.scope, principal, resource.owner),
  );
}

/** The reference: may this principal do this to that? */
export function allows(policy: Policy, probe: Probe): boolean {
  return grantsOf(policy, probe).length > 0;
}

/** Whether a grant speaks of the store or route group of that name. */
export function covers({ names }: Grant, name: string | undefined): boolean {
  return names === undefined || (name !== undefined && names.includes(name));
}

/** A shared credential owns what any of its kind owns. */
export function isWithin(scope: GrantScope, principal: Principal, owner: Principal): boolean {
  if (scope === "any") return true;
  const isOwn =
    principal.kind === owner.kind && (principal.id === ANY_ONE || principal.id === owner.id);
  if (scope === "own") return isOwn;
  if (principal.tenant === undefined || principal.tenant !== owner.tenant) return false;
  if (scope === "tenant") return true;
  if (principal.user !== owner.user) return false;
  return (principal.user === undefined) === (scope === "fleet");
}
