/** Finds the users of a tenant that ever had a job, a page at a time: they are told how their tenant stands. */
import { usersOfTenant } from "../../protocols/actors/supervisor.ts";
import type { Tools } from "../../runtime/tools.ts";
import type { Buckets } from "../../runtime/transport.ts";

/** So many tells fit into one commit many times over. */
const PAGE = 200;

export function tenantUsersTool({ buckets }: { readonly buckets: Buckets }): Tools {
  return {
    async [usersOfTenant.name](given) {
      const { after, tenant } = usersOfTenant.input.parse(given);
      const keys = await buckets.keys("jobs", `${tenant}.*.*`);
      const users = [...new Set(keys.map((key) => key.split(".")[1] ?? ""))].toSorted();
      const rest = users.filter((user) => user > after);
      const page = rest.slice(0, PAGE);
      return { users: page, next: rest.length > PAGE ? (page.at(-1) ?? null) : null };
    },
  };
}
