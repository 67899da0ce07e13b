/**
 * Requests per minute and user, over all gateways.
 *
 * L1 A request takes one permit. Permits come in blocks from the user's actor, which never gives out more than the
 *    limit in one window, so that no number of gateways lets more through.
 * L2 A block is good until its window ends, counted from before it was asked for: never longer than the actor means.
 * L3 While the actor does not answer, a gateway lets one block of its own through per minute and refuses the rest.
 * L4 One ask per user is under way at a time, and none at all once the window has nothing left.
 */
import { User } from "../../protocols/actors/user.ts";
import { asBerthError, BerthError } from "../../protocols/errors.ts";
import type { Tier, TierTable } from "../../protocols/tiers.ts";
import type { Client } from "../../runtime/client.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { Metrics } from "../../runtime/metrics.ts";
import type { TenantPrincipal } from "../auth/principal.ts";

/** What the caller is told of its limit. */
export interface PermitStanding {
  readonly limit: number;
  readonly remaining: number;
  readonly resetMs: number;
}

interface Block {
  window: number | null;
  left: number;
  /** That the actor has not given out yet, as far as is known. */
  remaining: number;
  limit: number;
  /** On the monotonic clock. */
  until: number;
  asking: Promise<void> | undefined;
  /** No further block of our own before (L3). */
  ownAgainAt: number;
}

/** Requests wait for the actor no longer than this. */
const ASK_MS = 1_000;
const PATIENCE_MS = 5_000;
const OWN_EVERY_MS = 60_000;
const OWN_SHARE = 20;
const RETRY_MS = 1_000;
/** A block with less than this share of what came with it is filled up in the background. */
const LOW_SHARE = 4;
/** Users that are kept in mind; those whose window has passed go first. */
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
  readonly #blocks = new Map<string, Block>();

  constructor(deps: LimiterDeps) {
    this.#deps = deps;
  }

  /** Takes one permit; rejects with `request.rate_limited` and the time until the window is over. */
  async take(principal: TenantPrincipal, tier: Tier): Promise<PermitStanding> {
    const block = this.#blockOf(principal, tier);
    const { clock } = this.#deps;
    const giveUpAt = clock.monotonic() + PATIENCE_MS;
    while (clock.monotonic() < giveUpAt) {
      const left = block.until - clock.monotonic();
      if (left > 0 && block.left > 0) {
        block.left -= 1;
        const isLow = block.left * LOW_SHARE * OWN_SHARE < block.limit;
        if (isLow && block.remaining > 0) this.#fill(principal, tier, block).catch(() => undefined);
        return { limit: block.limit, remaining: block.left + block.remaining, resetMs: left };
      }
      if (left > 0 && block.remaining === 0) throw refusal(block.limit, left); // L4
      await this.#fill(principal, tier, block);
    }
    throw refusal(block.limit, RETRY_MS);
  }

  #fill(principal: TenantPrincipal, tier: Tier, block: Block): Promise<void> {
    block.asking ??= this.#ask(principal, tier, block).finally(() => {
      block.asking = undefined;
    });
    return block.asking;
  }

  async #ask({ tenant, user }: TenantPrincipal, tier: Tier, block: Block): Promise<void> {
    const { client, clock, logger, metrics } = this.#deps;
    const before = clock.monotonic(); // L2
    try {
      const actor = client.actor(User, tenant, user);
      const given = await actor.permits({ tier }, { timeoutMs: ASK_MS });
      metrics.count("berth_gateway_permit_asks_total");
      const isSame = given.window === block.window && before < block.until;
      block.left = (isSame ? block.left : 0) + given.granted;
      block.window = given.window;
      block.limit = given.limit;
      block.remaining = given.remaining;
      block.until = before + given.reset_ms;
    } catch (thrown) {
      logger.warn({ code: asBerthError(thrown).code, tenant }, "a user's actor gave no permits");
      this.#useOwn(block, tier);
    }
  }

  /** L3. */
  #useOwn(block: Block, tier: Tier): void {
    const { clock, tiers } = this.#deps;
    const now = clock.monotonic();
    if (now < block.until && block.left > 0) return;
    const limit = tiers[tier].requestsPerMinute;
    if (now < block.ownAgainAt) throw refusal(limit, RETRY_MS);
    block.ownAgainAt = now + OWN_EVERY_MS;
    block.window = null;
    block.limit = limit;
    block.left = Math.ceil(limit / OWN_SHARE);
    // What it has is used before it asks again; then the actor may be back.
    block.remaining = 1;
    block.until = now + OWN_EVERY_MS;
  }

  #blockOf({ tenant, user }: TenantPrincipal, tier: Tier): Block {
    const name = `${tenant}/${user}`;
    const known = this.#blocks.get(name);
    if (known) return known;
    if (this.#blocks.size >= MAX_USERS) this.#forget();
    const limit = this.#deps.tiers[tier].requestsPerMinute;
    const block: Block = {
      ...{ window: null, left: 0, remaining: 0, limit, until: 0, ownAgainAt: 0 },
      asking: undefined,
    };
    this.#blocks.set(name, block);
    return block;
  }

  /** Makes room for many at once, for it looks at all. Who is being asked about, or used a block of our own, stays (L3, L4). */
  #forget(): void {
    const now = this.#deps.clock.monotonic();
    const forgettable = [...this.#blocks].filter(
      ([, { asking, ownAgainAt }]) => asking === undefined && ownAgainAt <= now,
    );
    for (const [name, { until }] of forgettable) if (until <= now) this.#blocks.delete(name);
    for (const [name] of forgettable) {
      if (this.#blocks.size <= MAX_USERS * KEPT_SHARE) return;
      this.#blocks.delete(name);
    }
  }
}

function refusal(limit: number, retryAfterMs: number): BerthError {
  const message = `${limit} requests per minute are the limit`;
  return new BerthError("request.rate_limited", message, { retryAfterMs });
}
