/** Every principal against every resource: the questions that the policy and each of its projections are asked. */
import type { Principal, Probe, Resource } from "../../protocols/isolation.ts";
import { actionsOn, resourcesOf } from "../../protocols/isolation-resources.ts";

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

/** Each principal's own things, and at the routes what belongs to nobody else. */
function resources(): Resource[] {
  const owners = [PLATFORM, { kind: "gateway" as const, id: "g1" }, ...PEOPLE, ...CONTAINERS];
  return owners.flatMap(resourcesOf);
}

/** All of the matrix. */
export function probes(): Probe[] {
  return PRINCIPALS.flatMap((principal) =>
    resources().flatMap((resource) =>
      actionsOn(resource.kind).map((action) => ({ principal, action, resource })),
    ),
  );
}

export function nameOf({ principal, action, resource }: Probe): string {
  const who = (one: Principal) =>
    [one.kind, one.tenant, one.user ?? one.id].filter(Boolean).join("/");
  return `${who(principal)} ${action} ${resource.name ?? ""} ${resource.kind} of ${who(resource.owner)}`;
}
