/** What the deployment has in the broker, as the broker tells it: one question for all, now and then. */
import { asBerthError } from "../protocols/errors.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Metrics } from "../runtime/metrics.ts";
import type { BrokerUse } from "../runtime/nats/broker-use.ts";
import { Readings } from "./readings.ts";

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
  readonly #readings: Readings;

  constructor(parts: Collaborators) {
    this.#parts = parts;
    const { clock } = parts;
    this.#readings = new Readings({ clock, everyMs: EVERY_MS, read: () => this.#take() });
  }

  start(): void {
    this.#readings.start();
  }

  stop(): Promise<void> {
    return this.#readings.stop();
  }

  async #take(): Promise<void> {
    const { logger, metrics, read } = this.#parts;
    try {
      this.#export(await read());
      metrics.count("berth_broker_readings_total", { result: "done" });
    } catch (thrown) {
      // The values stay as they were; this counter says that they are old.
      metrics.count("berth_broker_readings_total", { result: "failed" });
      logger.warn({ err: asBerthError(thrown) }, "the broker does not say what it holds");
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
