/** Tells user workers, now and then, that a client of their user is attached: such a worker is not idle. */
import { UserWorker } from "../protocols/actors/place.ts";
import type { TierTable } from "../protocols/tiers.ts";
import type { Client } from "../runtime/client.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";

/** Tells per idle time-out. */
const TELLS_PER_TIMEOUT = 3;
/** A tell counts for so many intervals, so that one that is lost costs nothing. */
const HELD_INTERVALS = 3;

export class Attachments {
  readonly #deps: {
    readonly client: Client;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly intervalMs: number;
  };
  readonly #users = new Map<string, { count: number; stop: () => void }>();

  constructor(deps: {
    readonly client: Client;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly tiers: TierTable;
    readonly attachedMs: number;
  }) {
    const { idleTimeoutMs } = deps.tiers.pro;
    const often = (idleTimeoutMs ?? Number.POSITIVE_INFINITY) / TELLS_PER_TIMEOUT;
    this.#deps = { ...deps, intervalMs: Math.max(50, Math.min(deps.attachedMs, often)) };
  }

  /** A stream of the user is open until the returned function is called. */
  attach(tenant: string, user: string): () => void {
    const name = `${tenant}/${user}`;
    const known = this.#users.get(name);
    if (known) known.count += 1;
    else this.#users.set(name, { count: 1, stop: this.#repeat(tenant, user) });
    let attached = true;
    return () => {
      const entry = this.#users.get(name);
      if (!attached || !entry) return;
      attached = false;
      entry.count -= 1;
      if (entry.count > 0) return;
      entry.stop();
      this.#users.delete(name);
    };
  }

  #repeat(tenant: string, user: string): () => void {
    const { client, clock, logger, intervalMs } = this.#deps;
    let stop: () => void = () => undefined;
    const tell = () => {
      stop = clock.after(intervalMs, tell);
      client
        .actor(UserWorker, tenant, user)
        .attached({ user, holds_ms: HELD_INTERVALS * intervalMs })
        .catch((error: unknown) =>
          logger.warn({ error, tenant }, "a worker was not told of its client"),
        );
    };
    tell();
    return () => stop();
  }
}
