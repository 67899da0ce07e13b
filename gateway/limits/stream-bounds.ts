/** Open streams per user, per tenant and in all, on this gateway. */
import { BerthError } from "../../protocols/errors.ts";
import type { Tier, TierTable } from "../../protocols/tiers.ts";
import type { Principal } from "../auth/principal.ts";

const RETRY_MS = 5_000;

export class StreamBounds {
  readonly #tiers: TierTable;
  readonly #open = new Map<string, number>();

  constructor(tiers: TierTable) {
    this.#tiers = tiers;
  }

  /** Throws `request.rate_limited` when no further one may be opened. Operators have no bound of their own. */
  check({ tenant, user }: Principal, tier: Tier | undefined): void {
    if (tenant === null || tier === undefined) return;
    const { streamsPerTenant, streamsPerUser } = this.#tiers[tier];
    this.#check(`${tenant}/${user}`, streamsPerUser, "user");
    this.#check(tenant, streamsPerTenant, "tenant");
  }

  /** Counts a stream until the returned function is called; throws as `check` does. */
  open(principal: Principal, tier: Tier | undefined): () => void {
    this.check(principal, tier);
    const { tenant, user } = principal;
    if (tenant === null || tier === undefined) return () => undefined;
    const ofUser = `${tenant}/${user}`;
    this.#add(ofUser, 1);
    this.#add(tenant, 1);
    let isOpen = true;
    return () => {
      if (!isOpen) return;
      isOpen = false;
      this.#add(ofUser, -1);
      this.#add(tenant, -1);
    };
  }

  #check(name: string, limit: number, whose: string): void {
    if ((this.#open.get(name) ?? 0) < limit) return;
    const message = `${limit} open streams are the limit of the ${whose}`;
    throw new BerthError("request.rate_limited", message, { retryAfterMs: RETRY_MS });
  }

  #add(name: string, more: number): void {
    const count = (this.#open.get(name) ?? 0) + more;
    if (count > 0) this.#open.set(name, count);
    else this.#open.delete(name);
  }
}
