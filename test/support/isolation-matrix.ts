/** Every principal against every resource: the questions that the policy and each of its projections are asked. */
import {
  CHANNELS,
  DOORS,
  HOLDINGS,
  type Principal,
  type Probe,
  type Resource,
  ROUTES,
} from "../../protocols/isolation.ts";
import { BUCKETS, STREAMS } from "../../protocols/subjects.ts";

export const PLATFORM: Principal = { kind: "node", id: "n1" };
const person = (kind: "user" | "tenantAdmin", tenant: string, user: string): Principal => ({
  kind,
  id: user,
  tenant,
  user,
});
const container = (id: string, tenant?: string, user?: string): Principal => ({
  kind: "container",
  id,
  ...(tenant === undefined ? {} : { tenant }),
  ...(user === undefined ? {} : { user }),
});

export const PEOPLE: readonly Principal[] = [
  { kind: "operator", id: "root" },
  person("tenantAdmin", "acme", "ada"),
  person("tenantAdmin", "globex", "gus"),
  person("user", "acme", "ann"),
  person("user", "acme", "bob"),
  person("user", "globex", "eve"),
];
export const CONTAINERS: readonly Principal[] = [
  container("wrk_pool1"),
  container("wrk_pool2"),
  container("wrk_ann", "acme", "ann"),
  container("wrk_bob", "acme", "bob"),
  container("wrk_eve", "globex", "eve"),
  container("wrk_fleet1", "initech"),
  container("wrk_fleet2", "initech"),
  container("wrk_fleet3", "hooli"),
];
export const PRINCIPALS: readonly Principal[] = [
  PLATFORM,
  { kind: "gateway", id: "g1" },
  { kind: "gateway", id: "g2" },
  { kind: "supervisor", id: "main", tenant: "acme" },
  { kind: "supervisor", id: "main", tenant: "globex" },
  ...PEOPLE,
  ...CONTAINERS,
];

/** Channels that belong to one container, and those that belong to whoever reads them. */
const OF_CONTAINERS = new Set(["uplink", "hello", "beat", "downlink"]);
const ACTIONS = {
  channel: ["publish", "subscribe"],
  stream: ["read", "remove", "administer"],
  bucket: ["read", "write", "remove", "administer"],
  door: ["connect"],
  holding: ["use", "control"],
  route: ["read", "write"],
} as const;

function resources(): {
  readonly resource: Resource;
  readonly actions: readonly Probe["action"][];
}[] {
  const channels = CHANNELS.flatMap((kind) => {
    const speakers = PRINCIPALS.filter((principal) =>
      ["node", "gateway", "container"].includes(principal.kind),
    );
    const owners = OF_CONTAINERS.has(kind) ? CONTAINERS : kind === "inbox" ? speakers : [PLATFORM];
    return owners.map((owner) => ({ resource: { kind, owner }, actions: ACTIONS.channel }));
  });
  const stores = [
    ...Object.keys(STREAMS).map((name) => ({ kind: "stream" as const, name })),
    ...Object.keys(BUCKETS).map((name) => ({ kind: "bucket" as const, name })),
  ].map((store) => ({ resource: { ...store, owner: PLATFORM }, actions: ACTIONS[store.kind] }));
  const doors = DOORS.flatMap((kind) =>
    (kind === "container" ? CONTAINERS : [PLATFORM]).map((owner) => ({
      resource: { kind, owner },
      actions: ACTIONS.door,
    })),
  );
  const holdings = HOLDINGS.flatMap((kind) =>
    CONTAINERS.map((owner) => ({ resource: { kind, owner }, actions: ACTIONS.holding })),
  );
  const routes = ROUTES.flatMap((name) =>
    PEOPLE.filter(({ kind }) => kind !== "operator").map((owner) => ({
      resource: { kind: "route" as const, name, owner },
      actions: ACTIONS.route,
    })),
  );
  return [...channels, ...stores, ...doors, ...holdings, ...routes];
}

/** All of the matrix. */
export function probes(): Probe[] {
  return PRINCIPALS.flatMap((principal) =>
    resources().flatMap(({ resource, actions }) =>
      actions.map((action) => ({ principal, action, resource })),
    ),
  );
}

export function nameOf({ principal, action, resource }: Probe): string {
  const who = (one: Principal) =>
    [one.kind, one.tenant, one.user ?? one.id].filter(Boolean).join("/");
  return `${who(principal)} ${action} ${resource.name ?? ""} ${resource.kind} of ${who(resource.owner)}`;
}
