/** What the deployment has in the broker, as the broker tells it: one question for all, now and then. */
import { asBerthError } from "../protocols/errors.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Metrics } from "../runtime/metrics.ts";
import type { BrokerUse } from "../runtime/nats/broker-use.ts";

interface Collaborators {
  /** Has a bound of its own. */
  readonly read: () => Promise<BrokerUse>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

const EVERY_MS = 15_000;

/** Every node exports the same values; dashboards take the maximum over nodes. */
export class BrokerGauges {
  readonly #parts: Collaborators;
  readonly #stop = new AbortController();
  #loop: Promise<void> = Promise.resolve();

  constructor(parts: Collaborators) {
    this.#parts = parts;
  }

  start(): void {
    this.#loop = this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { clock, logger, metrics } = this.#parts;
    while (!this.#stop.signal.aborted) {
      try {
        this.#export(await this.#parts.read());
        metrics.count("berth_broker_readings_total", { result: "done" });
      } catch (thrown) {
        // The values stay as they were; this counter says that they are old.
        metrics.count("berth_broker_readings_total", { result: "failed" });
        logger.warn({ err: asBerthError(thrown) }, "the broker does not say what it holds");
      }
      await clock.sleep(EVERY_MS, this.#stop.signal);
    }
  }

  #export(use: BrokerUse): void {
    const { metrics } = this.#parts;
    metrics.gauge("berth_broker_storage_bytes", use.storageBytes);
    metrics.gauge("berth_broker_storage_limit_bytes", use.storageLimitBytes);
    metrics.gauge("berth_broker_memory_bytes", use.memoryBytes);
    metrics.gauge("berth_broker_memory_limit_bytes", use.memoryLimitBytes);
    metrics.gauge("berth_broker_streams", use.streams);
    metrics.gauge("berth_broker_consumers", use.consumers);
    metrics.gauge("berth_broker_api_errors", use.apiErrors);
  }
}
