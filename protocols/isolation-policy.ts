/** The isolation policy of Berth. What is not granted here is refused, by whatever stands in the way. */
import { CHANNELS, HOLDINGS, type Policy, ROUTES, type RouteGroup, STORES } from "./isolation.ts";

/** What a gateway reads of what actors stored; never their mail or the vault, and a record only by asking its node for one. */
const GATEWAY_READS = [
  "tenants",
  "keys",
  "jobs",
  "sessions",
  "workers",
  "queues",
  "nodes",
  "partitions",
  "idempotency",
  "journal",
  "deadLetters",
  "audit",
];

/** What operators, who belong to no tenant, do not have. */
const PERSONAL: readonly RouteGroup[] = ["account", "submission", "credentials"];

export const ISOLATION_POLICY: Policy = [
  // Nodes are the platform: whoever has one has everything that nodes keep.
  { principal: "node", action: "publish", resources: CHANNELS, scope: "any" },
  { principal: "node", action: "subscribe", resources: CHANNELS, scope: "any" },
  { principal: "node", action: "answer", resources: CHANNELS, scope: "any" },
  { principal: "node", action: "read", resources: STORES, scope: "any" },
  { principal: "node", action: "write", resources: STORES, scope: "any" },
  { principal: "node", action: "remove", resources: STORES, scope: "any" },
  { principal: "node", action: "administer", resources: STORES, scope: "any" },
  { principal: "node", action: "control", resources: HOLDINGS, scope: "any" },
  {
    principal: "node",
    action: "connect",
    resources: ["broker", "api", "internet", "host"],
    scope: "any",
  },

  // A supervisor is an actor: it works through its node, on its own tenant's things alone.
  { principal: "supervisor", action: "control", resources: HOLDINGS, scope: "tenant" },

  // A gateway asks actors, reads what they stored and watches it; it never speaks as a container.
  {
    principal: "gateway",
    action: "publish",
    resources: ["mail", "asks", "downlink", "nodes", "vault", "audit", "services", "brokerInfo"],
    scope: "any",
  },
  { principal: "gateway", action: "subscribe", resources: ["live"], scope: "any" },
  { principal: "gateway", action: "subscribe", resources: ["inbox"], scope: "own" },
  { principal: "gateway", action: "read", resources: STORES, names: GATEWAY_READS, scope: "any" },
  {
    principal: "gateway",
    action: "write",
    resources: ["bucket"],
    names: ["keys", "idempotency"],
    scope: "any",
  },
  // Operators drop dead letters through it.
  {
    principal: "gateway",
    action: "remove",
    resources: ["stream"],
    names: ["deadLetters"],
    scope: "any",
  },
  {
    principal: "gateway",
    action: "connect",
    resources: ["broker", "api", "internet"],
    scope: "any",
  },

  // A container speaks and listens under its own id alone; the world it reaches by the proxy.
  {
    principal: "container",
    action: "publish",
    resources: ["uplink", "hello", "beat"],
    scope: "own",
  },
  { principal: "container", action: "subscribe", resources: ["downlink", "inbox"], scope: "own" },
  { principal: "container", action: "answer", resources: ["downlink"], scope: "own" },
  { principal: "container", action: "connect", resources: ["broker", "egress"], scope: "any" },
  { principal: "container", action: "connect", resources: ["container"], scope: "fleet" },
  { principal: "container", action: "use", resources: ["network", "volume"], scope: "user" },
  { principal: "container", action: "use", resources: ["network", "volume"], scope: "fleet" },

  // People and programs with an API credential.
  { principal: "user", action: "connect", resources: ["api"], scope: "any" },
  { principal: "tenantAdmin", action: "connect", resources: ["api"], scope: "any" },
  { principal: "operator", action: "connect", resources: ["api"], scope: "any" },
  // What agents there are is no secret among those who have a credential.
  { principal: "user", action: "read", resources: ["route"], names: ["agents"], scope: "any" },
  {
    principal: "tenantAdmin",
    action: "read",
    resources: ["route"],
    names: ["agents"],
    scope: "any",
  },
  {
    principal: "user",
    action: "read",
    resources: ["route"],
    names: ["account", "sessions", "jobs", "credentials"],
    scope: "user",
  },
  {
    principal: "user",
    action: "write",
    resources: ["route"],
    names: ["submission", "sessions", "jobs", "credentials"],
    scope: "user",
  },
  // Nobody acts in another's name or touches another's credentials, a tenant's admin neither.
  {
    principal: "tenantAdmin",
    action: "read",
    resources: ["route"],
    names: ["account", "credentials"],
    scope: "user",
  },
  {
    principal: "tenantAdmin",
    action: "write",
    resources: ["route"],
    names: ["submission", "credentials"],
    scope: "user",
  },
  {
    principal: "tenantAdmin",
    action: "read",
    resources: ["route"],
    names: ["sessions", "jobs", "workers", "workerLogs", "keys", "audit"],
    scope: "tenant",
  },
  {
    principal: "tenantAdmin",
    action: "write",
    resources: ["route"],
    names: ["sessions", "jobs", "keys"],
    scope: "tenant",
  },
  {
    principal: "operator",
    action: "read",
    resources: ["route"],
    names: ROUTES.filter((name) => !PERSONAL.includes(name)),
    scope: "any",
  },
  {
    principal: "operator",
    action: "write",
    resources: ["route"],
    names: ["sessions", "jobs", "keys", "tenants", "nodes", "actors", "deadLetters", "vault"],
    scope: "any",
  },
];
