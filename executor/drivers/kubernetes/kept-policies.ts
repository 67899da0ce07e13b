/** Sees that the deployment's NetworkPolicies are there as they should be, and none besides. */
import { isDeepStrictEqual } from "node:util";
import type { V1NetworkPolicy } from "@kubernetes/client-node";
import type { Cluster } from "./cluster.ts";
import { type ClusterOwner, partLabels, selectorOf } from "./labels.ts";

type NamedPolicy = V1NetworkPolicy & { readonly metadata: { readonly name: string } };

export class KeptPolicies {
  readonly #cluster: Cluster;
  readonly #selector: string;
  readonly #policies: readonly NamedPolicy[];

  constructor(cluster: Cluster, owner: ClusterOwner, policies: readonly NamedPolicy[]) {
    this.#cluster = cluster;
    this.#selector = selectorOf(partLabels(owner, "policy"));
    this.#policies = policies;
  }

  /** Resolves with the names of those that went. Safe to repeat, and from several nodes at once. */
  async ensure(): Promise<string[]> {
    const found = new Map(
      (await this.#cluster.policies(this.#selector)).map((one) => [one.metadata?.name ?? "", one]),
    );
    for (const policy of this.#policies) {
      const { name } = policy.metadata;
      const there = found.get(name);
      found.delete(name);
      if (there === undefined) await this.#cluster.createPolicy(policy);
      else if (!isSame(there, policy)) await this.#cluster.patchPolicy(name, policy);
    }
    for (const name of found.keys()) await this.#cluster.deletePolicy(name);
    return [...found.keys()].map((name) => `policy ${name}`);
  }

  async removeAll(): Promise<void> {
    for (const { metadata } of await this.#cluster.policies(this.#selector))
      await this.#cluster.deletePolicy(metadata?.name ?? "");
  }
}

/** The API leaves out lists that are empty. */
function isSame(there: V1NetworkPolicy, wanted: V1NetworkPolicy): boolean {
  return isDeepStrictEqual(withoutEmpty(there.spec), withoutEmpty(wanted.spec));
}

function withoutEmpty(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutEmpty);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value)
    .filter(([, part]) => !(Array.isArray(part) && part.length === 0))
    .map(([name, part]) => [name, withoutEmpty(part)]);
  return Object.fromEntries(entries);
}
