/**
 * Requests per minute and user, over all gateways.
 *
 * L1 A request takes one permit. Permits come in blocks from the user's actor, which never gives out more than what the
 *    limit leaves in any window (P2), so that no number of gateways lets more through, and no burst over a window's edge.
 * L2 A gateway says what it used with its next ask, so that its uses are free again a window later (P1).
 * L3 While the actor does not answer, a gateway lets one block of its own through per minute and refuses the rest; it counts
 *    as soon as the actor hears of it.
 * L4 One ask per user is under way at a time, and none at all while nothing is left, nor soon after a caller was refused because
 *    one failed: an actor that is parked, or has too much to do, is not asked by each request.
 */
import { User } from "../../protocols/actors/user.ts";
import { asBerthError, BerthError } from "../../protocols/errors.ts";
import type { Tier, TierTable } from "../../protocols/tiers.ts";
import type { Client } from "../../runtime/client.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { Metrics } from "../../runtime/metrics.ts";
import type { TenantPrincipal } from "../auth/principal.ts";
import { PermitPurse, type PermitStanding } from "./permit-purse.ts";

interface Account {
  readonly purse: PermitPurse;
  asking: Promise<void> | undefined;
  /** No further block of our own before (L3). */
  ownAgainAt: number;
  /** No ask before (L4). */
  askAgainAt: number;
}

/** Requests wait for the actor no longer than this. */
const ASK_MS = 1_000;
const PATIENCE_MS = 5_000;
const OWN_EVERY_MS = 60_000;
const OWN_SHARE = 20;
const RETRY_MS = 1_000;
/** Users that are kept in mind; those who have nothing left go first. */
const MAX_USERS = 20_000;
const KEPT_SHARE = 0.9;

interface LimiterDeps {
  readonly client: Client;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly tiers: TierTable;
}

export class RequestLimiter {
  readonly #deps: LimiterDeps;
  readonly #accounts = new Map<string, Account>();

  constructor(deps: LimiterDeps) {
    this.#deps = deps;
  }

  /** Takes one permit; rejects with `request.rate_limited` and the time until there is one again. */
  async take(principal: TenantPrincipal, tier: Tier): Promise<PermitStanding> {
    const account = this.#accountOf(principal, tier);
    const { purse } = account;
    const { clock } = this.#deps;
    const giveUpAt = clock.monotonic() + PATIENCE_MS;
    for (let now = clock.monotonic(); now < giveUpAt; now = clock.monotonic()) {
      const standing = purse.take(now);
      if (standing) {
        if (purse.isLow) this.#fill(principal, tier, account).catch(() => undefined);
        return standing;
      }
      const pauseMs = Math.max(purse.emptyForMs(now), account.askAgainAt - now);
      if (pauseMs > 0) throw refusal(purse.limit, pauseMs); // L4
      await this.#fill(principal, tier, account);
    }
    throw refusal(purse.limit, RETRY_MS);
  }

  #fill(principal: TenantPrincipal, tier: Tier, account: Account): Promise<void> {
    account.asking ??= this.#ask(principal, tier, account).finally(() => {
      account.asking = undefined;
    });
    return account.asking;
  }

  async #ask({ tenant, user }: TenantPrincipal, tier: Tier, account: Account): Promise<void> {
    const { client, clock, logger, metrics } = this.#deps;
    const before = clock.monotonic();
    const { ended, heard } = account.purse.report(before); // L2
    try {
      const actor = client.actor(User, tenant, user);
      const given = await actor.permits({ tier, ended }, { timeoutMs: ASK_MS });
      metrics.count("berth_gateway_permit_asks_total");
      heard();
      account.purse.add(given, before);
    } catch (thrown) {
      logger.warn({ code: asBerthError(thrown).code, tenant }, "a user's actor gave no permits");
      this.#useOwn(account, tier);
    }
  }

  /** L3. */
  #useOwn(account: Account, tier: Tier): void {
    const { clock, tiers } = this.#deps;
    const now = clock.monotonic();
    if (account.purse.has(now)) return;
    const limit = tiers[tier].requestsPerMinute;
    if (now < account.ownAgainAt) {
      account.askAgainAt = now + RETRY_MS;
      throw refusal(limit, RETRY_MS);
    }
    account.ownAgainAt = now + OWN_EVERY_MS;
    account.purse.addOwn(Math.ceil(limit / OWN_SHARE), now, OWN_EVERY_MS);
  }

  #accountOf({ tenant, user }: TenantPrincipal, tier: Tier): Account {
    const name = `${tenant}/${user}`;
    const known = this.#accounts.get(name);
    if (known) return known;
    if (this.#accounts.size >= MAX_USERS) this.#forget();
    const purse = new PermitPurse(this.#deps.tiers[tier].requestsPerMinute);
    const account: Account = { purse, asking: undefined, ownAgainAt: 0, askAgainAt: 0 };
    this.#accounts.set(name, account);
    return account;
  }

  /** Makes room for many at once, for it looks at all. Who is being asked about, or used a block of our own, stays (L3, L4). */
  #forget(): void {
    const now = this.#deps.clock.monotonic();
    const forgettable = [...this.#accounts].filter(
      ([, { asking, ownAgainAt }]) => asking === undefined && ownAgainAt <= now,
    );
    for (const [name, { purse }] of forgettable)
      if (purse.isSpent(now)) this.#accounts.delete(name);
    for (const [name] of forgettable) {
      if (this.#accounts.size <= MAX_USERS * KEPT_SHARE) return;
      this.#accounts.delete(name);
    }
  }
}

function refusal(limit: number, retryAfterMs: number): BerthError {
  const message = `${limit} requests per minute are the limit`;
  return new BerthError("request.rate_limited", message, { retryAfterMs });
}
