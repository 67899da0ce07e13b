/** Why somebody may do something to somebody's things, or may not: the policy in sentences. Pure. */
import {
  type Action,
  type Grant,
  grantsOf,
  type Policy,
  type Principal,
  type Resource,
} from "../../protocols/isolation.ts";
import { actionsOn, resourcesOf } from "../../protocols/isolation-resources.ts";

export interface Explanation {
  readonly action: Action;
  readonly resource: Resource;
  /** The first grant that allows it; undefined: none does, and it is refused. */
  readonly grant: Grant | undefined;
}

/** Everything that `principal` could try on what belongs to `owner`. */
export function explain(policy: Policy, principal: Principal, owner: Principal): Explanation[] {
  return resourcesOf(owner).flatMap((resource) =>
    actionsOn(resource.kind).map((action) => {
      const [grant] = grantsOf(policy, { principal, action, resource });
      return { action, resource, grant };
    }),
  );
}

/** `container acme/ann`, `user acme/ann`, `gateway`. */
export function describePrincipal({ kind, id, tenant, user }: Principal): string {
  if (tenant === undefined) return kind === "node" || kind === "gateway" ? kind : `${kind} ${id}`;
  return `${kind} ${user === undefined ? tenant : `${tenant}/${user}`}`;
}

export function describeGrant({ principal, action, resources, names, scope }: Grant): string {
  const what = names === undefined ? resources : [...resources, `(${names.join(", ")})`];
  const whose = {
    own: "its own",
    user: "its user's",
    fleet: "its fleet's",
    tenant: "its tenant's",
    any: "any",
  };
  return `${principal} may ${action} ${whose[scope]} ${what.join(" ")}`;
}
