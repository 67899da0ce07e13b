/**
 * Who may talk to whom, as data. `allows` is the reference; NATS permissions, Docker networks and Kubernetes
 * NetworkPolicies are pure projections of the same policy, and tests ask both the same questions.
 */

/** Who asks. `worker` is the container (or process) in which a tenant's agents run. */
export const PRINCIPAL_KINDS = ["node", "gateway", "worker", "client"] as const;
export type PrincipalKind = (typeof PRINCIPAL_KINDS)[number];

/** The id of a credential that all of a kind share, such as the workers of one machine. */
export const ANY_ONE = "*";

export interface Principal {
  readonly kind: PrincipalKind;
  /** A worker's id, a node's id; `ANY_ONE` for a shared credential. */
  readonly id: string;
}

/** What is asked for. Channels lie on the broker, doors are network endpoints. */
export const CHANNELS = [
  /** Frames of a worker's jobs, on their way to sessions. */
  "uplink",
  "hello",
  "beat",
  /** Orders to a worker. */
  "downlink",
  /** Answers to a principal's own requests. */
  "inbox",
  "mail",
  "asks",
  "journal",
  "live",
  "reminders",
  "deadLetters",
  "drivers",
  "nodes",
  /** Values of buckets, actors' records among them. */
  "buckets",
  /** The broker's own API: streams, consumers, acknowledgements. */
  "brokerApi",
  "system",
] as const;
export const DOORS = ["broker", "api", "worker", "metadata", "internet"] as const;
export type Channel = (typeof CHANNELS)[number];
export type Door = (typeof DOORS)[number];
export type ResourceKind = Channel | Door;

export interface Resource {
  readonly kind: ResourceKind;
  /** Whom it belongs to: the worker of an uplink, the reader of an inbox; nodes own the rest. */
  readonly owner: Principal;
}

/** `answer`: publish to the reply subject of a request that was received, and nothing else. */
export type Action = "publish" | "subscribe" | "answer" | "connect";

export interface Grant {
  readonly principal: PrincipalKind;
  readonly action: Action;
  readonly resources: readonly ResourceKind[];
  /** `own`: only what belongs to the principal itself. */
  readonly scope: "own" | "any";
}
export type Policy = readonly Grant[];

/** What is not granted is refused. */
export const ISOLATION_POLICY: Policy = [
  { principal: "node", action: "publish", resources: CHANNELS, scope: "any" },
  { principal: "node", action: "subscribe", resources: CHANNELS, scope: "any" },
  { principal: "node", action: "answer", resources: CHANNELS, scope: "any" },
  { principal: "node", action: "connect", resources: ["broker", "internet"], scope: "any" },

  // A gateway asks actors, reads what they stored and watches it; it never speaks as a worker.
  {
    principal: "gateway",
    action: "publish",
    resources: ["mail", "asks", "downlink", "nodes", "buckets", "brokerApi"],
    scope: "any",
  },
  { principal: "gateway", action: "subscribe", resources: ["live"], scope: "any" },
  { principal: "gateway", action: "subscribe", resources: ["inbox"], scope: "own" },
  { principal: "gateway", action: "connect", resources: ["broker", "internet"], scope: "any" },

  // A worker speaks and listens under its own id alone. Agents need the models' APIs, hence the internet.
  {
    principal: "worker",
    action: "publish",
    resources: ["uplink", "hello", "beat"],
    scope: "own",
  },
  { principal: "worker", action: "subscribe", resources: ["downlink", "inbox"], scope: "own" },
  { principal: "worker", action: "answer", resources: ["downlink"], scope: "own" },
  { principal: "worker", action: "connect", resources: ["broker", "internet"], scope: "any" },

  { principal: "client", action: "connect", resources: ["api"], scope: "any" },
];

export interface Probe {
  readonly principal: Principal;
  readonly action: Action;
  readonly resource: Resource;
}

/** The reference: may this principal do this to that? */
export function allows(policy: Policy, probe: Probe): boolean {
  return policy.some(
    (grant) =>
      grant.principal === probe.principal.kind &&
      grant.action === probe.action &&
      grant.resources.includes(probe.resource.kind) &&
      (grant.scope === "any" || isOwner(probe.principal, probe.resource)),
  );
}

/** A shared credential owns what any of its kind owns. */
function isOwner(principal: Principal, { owner }: Resource): boolean {
  return principal.kind === owner.kind && (principal.id === ANY_ONE || principal.id === owner.id);
}
