/** What there is to ask about: the things that belong to a principal, and what can be done to each kind of them. Pure. */
import {
  type Action,
  CHANNELS,
  type Channel,
  DOORS,
  HOLDINGS,
  type Principal,
  type PrincipalKind,
  type Resource,
  type ResourceKind,
  ROUTES,
  type RouteGroup,
} from "./isolation.ts";
import { BUCKETS, STREAMS } from "./subjects.ts";

const OF_CONTAINERS: readonly Channel[] = ["uplink", "hello", "beat", "downlink", "inbox"];
/** Groups of routes whose things belong to users; the rest belongs to the platform, or to a tenant as a whole. */
export const USER_ROUTES: readonly RouteGroup[] = [
  "account",
  "submission",
  "sessions",
  "jobs",
  "credentials",
];
const TENANT_ROUTES: readonly RouteGroup[] = ["keys", "workers", "workerLogs", "audit"];

const isPerson = (kind: PrincipalKind) => kind === "user" || kind === "tenantAdmin";
const is = (list: readonly string[], kind: string) => list.includes(kind);

/** The platform's things are its nodes'. */
export function resourcesOf(owner: Principal): Resource[] {
  const of = (kinds: readonly ResourceKind[]) => kinds.map((kind) => ({ kind, owner }));
  const routes = (names: readonly RouteGroup[]) =>
    names.map((name) => ({ kind: "route" as const, name, owner }));
  if (owner.kind === "container") return of([...OF_CONTAINERS, "container", ...HOLDINGS]);
  if (owner.kind === "gateway") return of(["inbox", "api"]);
  if (isPerson(owner.kind)) return routes([...USER_ROUTES, ...TENANT_ROUTES]);
  if (owner.kind !== "node") return [];
  const ownChannels = CHANNELS.filter((kind) => kind === "inbox" || !is(OF_CONTAINERS, kind));
  const doors = DOORS.filter((kind) => kind !== "container" && kind !== "api");
  return [
    ...of([...ownChannels, ...doors]),
    ...Object.keys(STREAMS).map((name) => ({ kind: "stream" as const, name, owner })),
    ...Object.keys(BUCKETS).map((name) => ({ kind: "bucket" as const, name, owner })),
    ...routes(ROUTES.filter((name) => !is([...USER_ROUTES, ...TENANT_ROUTES], name))),
  ];
}

/** What can be done to a resource, as far as somebody can be seen doing it. */
export function actionsOn(kind: ResourceKind): readonly Action[] {
  if (is(CHANNELS, kind)) return ["publish", "subscribe"];
  if (is(DOORS, kind)) return ["connect"];
  if (is(HOLDINGS, kind)) return ["use", "control"];
  if (kind === "stream") return ["read", "remove", "administer"];
  if (kind === "bucket") return ["read", "write", "remove", "administer"];
  return ["read", "write"];
}
