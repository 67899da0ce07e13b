/**
 * Finds the users of a tenant that ever had a job, a page at a time: they are told how their tenant stands.
 *
 * The keys of all its jobs are read once for a walk, not for each page: a node keeps the names while the walk goes on.
 * Another node, or a walk that takes longer, reads them again; a walk that begins always does.
 */
import { usersOfTenant } from "../../protocols/actors/supervisor.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Tools } from "../../runtime/tools.ts";
import type { Buckets } from "../../runtime/transport.ts";

/** So many tells fit into one commit many times over. */
const PAGE = 200;
const KEPT_MS = 60_000;
/** Walks whose names are kept; of more at once the oldest reads again. */
const WALKS = 16;

interface Parts {
  readonly buckets: Buckets;
  readonly clock: Clock;
}

export function tenantUsersTool({ buckets, clock }: Parts): Tools {
  const walks = new Map<string, { readonly users: readonly string[]; readonly at: number }>();

  const usersOf = async (tenant: string, after: string) => {
    const kept = walks.get(tenant);
    if (after !== "" && kept && clock.monotonic() - kept.at < KEPT_MS) return kept.users;
    const keys = await buckets.keys("jobs", `${tenant}.*.*`);
    const users = [...new Set(keys.map((key) => key.split(".")[1] ?? ""))].toSorted();
    walks.delete(tenant);
    if (users.length > PAGE) walks.set(tenant, { users, at: clock.monotonic() });
    for (const oldest of walks.keys()) {
      if (walks.size <= WALKS) break;
      walks.delete(oldest);
    }
    return users;
  };

  return {
    async [usersOfTenant.name](given) {
      const { after, tenant } = usersOfTenant.input.parse(given);
      const users = await usersOf(tenant, after);
      const rest = users.filter((user) => user > after);
      const page = rest.slice(0, PAGE);
      const isLast = rest.length <= PAGE;
      if (isLast) walks.delete(tenant);
      return { users: page, next: isLast ? null : (page.at(-1) ?? null) };
    },
  };
}
