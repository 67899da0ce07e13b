/** Sees that the deployment's NetworkPolicies are there as they should be, and none besides. */
import { isDeepStrictEqual } from "node:util";
import type { Cluster, ListedPolicy } from "./cluster.ts";
import { type ClusterOwner, partLabels, selectorOf } from "./labels.ts";
import type { NamedPolicy } from "./worker-policies.ts";

export class KeptPolicies {
  readonly #cluster: Cluster;
  readonly #selector: string;
  /** Of tenants with fleets. */
  readonly #wanted: (fleets: readonly string[]) => readonly NamedPolicy[];

  constructor(parts: {
    readonly cluster: Cluster;
    readonly owner: ClusterOwner;
    readonly wanted: (fleets: readonly string[]) => readonly NamedPolicy[];
  }) {
    this.#cluster = parts.cluster;
    this.#selector = selectorOf(partLabels(parts.owner, "policy"));
    this.#wanted = parts.wanted;
  }

  /** Before the first worker of a fleet: what is there for others stays. */
  async admit(fleet: string): Promise<void> {
    for (const policy of this.#wanted([fleet])) await this.#cluster.createPolicy(policy);
  }

  /** Resolves with the names of those that went. Safe to repeat, and from several nodes at once. */
  async ensure(fleets: readonly string[]): Promise<string[]> {
    const found = new Map(
      (await this.#cluster.policies(this.#selector)).map((one) => [one.metadata?.name ?? "", one]),
    );
    for (const policy of this.#wanted(fleets)) {
      const { name } = policy.metadata;
      const there = found.get(name);
      found.delete(name);
      if (there === undefined) await this.#cluster.createPolicy(policy);
      else if (!isSame(there, policy)) await this.#cluster.patchPolicy(name, patchOf(policy));
    }
    for (const name of found.keys()) await this.#cluster.deletePolicy(name);
    return [...found.keys()].map((name) => `policy ${name}`);
  }

  async removeAll(): Promise<void> {
    for (const { metadata } of await this.#cluster.policies(this.#selector))
      await this.#cluster.deletePolicy(metadata?.name ?? "");
  }
}

/** What somebody else put in goes, too: a patch leaves what it does not name. */
function patchOf({ spec }: NamedPolicy): object {
  return { spec: { ingress: null, egress: null, ...spec } };
}

/** The API leaves out lists that are empty. */
function isSame(there: ListedPolicy, wanted: NamedPolicy): boolean {
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
