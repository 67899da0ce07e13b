/** What a worker's connections are judged by: its tier's list, and what operators gave its tenant beside it. */
import { type EgressPolicy, NO_EGRESS } from "../../protocols/egress.ts";
import type { WorkerSpec } from "../../protocols/executor.ts";
import { type TenantRecord, tenantRecordSchema } from "../../protocols/records.ts";
import type { TierTable } from "../../protocols/tiers.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Buckets } from "../../runtime/transport.ts";

export interface EgressPoliciesParts {
  readonly tiers: TierTable;
  readonly buckets: Pick<Buckets, "get">;
  readonly clock: Clock;
}

interface Known {
  readonly at: number;
  readonly record: Promise<TenantRecord | undefined>;
}

/** So long a change of a tenant takes to count. */
const FRESH_MS = 2_000;
const MOST_TENANTS = 10_000;

export class EgressPolicies {
  readonly #parts: EgressPoliciesParts;
  readonly #known = new Map<string, Known>();

  constructor(parts: EgressPoliciesParts) {
    this.#parts = parts;
  }

  /** Rejects when the tenant cannot be looked up. */
  async of({ tenant, tier }: Pick<WorkerSpec, "tenant" | "tier">): Promise<EgressPolicy> {
    const { egress: mode, egressHosts } = this.#parts.tiers[tier];
    if (mode === "none") return NO_EGRESS;
    const record = await this.record(tenant);
    if (record?.suspended === true) return NO_EGRESS;
    return { mode, hosts: [...egressHosts, ...(record?.egress ?? [])] };
  }

  /** Undefined for one that nobody made, such as the keeper of the shared pool. */
  async record(tenant: string): Promise<TenantRecord | undefined> {
    const now = this.#parts.clock.monotonic();
    const known = this.#known.get(tenant);
    if (known !== undefined && now - known.at < FRESH_MS) return await known.record;
    if (this.#known.size >= MOST_TENANTS) this.#known.clear();
    const record = this.#read(tenant).catch((thrown: unknown) => {
      // What was true a moment ago counts while the broker is away.
      if (known !== undefined) return known.record;
      this.#known.delete(tenant);
      throw thrown;
    });
    this.#known.set(tenant, { at: now, record });
    return await record;
  }

  async #read(tenant: string): Promise<TenantRecord | undefined> {
    const entry = await this.#parts.buckets.get("tenants", tenant);
    if (entry?.value === undefined) return undefined;
    return tenantRecordSchema.parse(JSON.parse(new TextDecoder().decode(entry.value)));
  }
}
