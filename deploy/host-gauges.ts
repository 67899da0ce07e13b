/** What the workers of this host use together, by tier: never by worker, for the number of those has no bound. */
import type { Driver } from "../executor/drivers/driver.ts";
import { asBerthError } from "../protocols/errors.ts";
import { TIERS, type Tier } from "../protocols/tiers.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Metrics } from "../runtime/metrics.ts";
import { Readings } from "./readings.ts";

interface Collaborators {
  readonly driver: Pick<Driver, "list" | "use" | "dormant">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** A reading asks the driver's engine about every worker; scrapes are not more frequent. */
const EVERY_MS = 10_000;

export class HostGauges {
  readonly #parts: Collaborators;
  /** CPU time of each worker at the last reading; undefined before the first. */
  #cpuMs: ReadonlyMap<string, number> | undefined;
  readonly #readings: Readings;

  constructor(parts: Collaborators) {
    this.#parts = parts;
    const { clock, logger } = parts;
    const read = () =>
      this.read().catch((thrown: unknown) =>
        logger.warn({ err: asBerthError(thrown) }, "the use of this host's workers is not known"),
      );
    this.#readings = new Readings({ clock, everyMs: EVERY_MS, read });
  }

  start(): void {
    this.#readings.start();
  }

  stop(): Promise<void> {
    return this.#readings.stop();
  }

  /** One reading; rejects, and exports nothing of use, when the driver cannot tell. */
  async read(): Promise<void> {
    const { driver, metrics } = this.#parts;
    const dormant = driver.dormant();
    for (const tier of TIERS) metrics.gauge("berth_workers_dormant", dormant[tier] ?? 0, { tier });
    const use = await driver.use();
    const tiers = new Map((await driver.list()).map(({ spec, worker }) => [worker, spec.tier]));
    const ofTier = (tier: Tier) => [...use].filter(([worker]) => tiers.get(worker) === tier);
    const before = this.#cpuMs;
    for (const tier of TIERS) {
      const own = ofTier(tier);
      const memory = own.reduce((sum, [, { memory_bytes }]) => sum + memory_bytes, 0);
      metrics.gauge("berth_worker_memory_bytes", memory, { tier });
      const growth = own.reduce(
        (sum, [worker, { cpu_ms }]) => sum + growthOf(before, worker, cpu_ms),
        0,
      );
      metrics.count("berth_worker_cpu_seconds_total", { tier }, growth / 1_000);
    }
    this.#cpuMs = new Map([...use].map(([worker, { cpu_ms }]) => [worker, cpu_ms]));
  }
}

/**
 * What a worker has used since the last reading; all of it when it is new. Of workers that were there before us nothing:
 * a counter that starts with their whole past would show a leap at every restart.
 */
function growthOf(
  before: ReadonlyMap<string, number> | undefined,
  worker: string,
  cpuMs: number,
): number {
  return before === undefined ? 0 : Math.max(0, cpuMs - (before.get(worker) ?? 0));
}
