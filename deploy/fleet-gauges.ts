/** Gauges of the whole deployment: workers and queues by tier, from the buckets that people read. */
import type { z } from "zod";
import { type WorkerRecord, workerRecordSchema } from "../protocols/executor.ts";
import { type QueueRecord, queueRecordSchema } from "../protocols/records.ts";
import { TIERS } from "../protocols/tiers.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Metrics } from "../runtime/metrics.ts";
import type { KeyEntry, Transport, Watch } from "../runtime/transport.ts";
import { Readings } from "./readings.ts";

interface Collaborators {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

const EVERY_MS = 1_000;
const decoder = new TextDecoder();
const UP = new Set<WorkerRecord["phase"]>(["idle", "busy", "draining"]);

/** Every node exports the same values; dashboards take the maximum over nodes. */
export class FleetGauges {
  readonly #parts: Collaborators;
  readonly #workers = new Map<string, WorkerRecord>();
  readonly #queues = new Map<string, QueueRecord>();
  readonly #readings: Readings;
  #watches: Watch[] = [];

  constructor(parts: Collaborators) {
    this.#parts = parts;
    const { clock } = parts;
    this.#readings = new Readings({ clock, everyMs: EVERY_MS, read: () => this.#export() });
  }

  async start(): Promise<void> {
    const { buckets } = this.#parts.transport;
    this.#watches = [
      await buckets.watch("workers", (entry) => keep(this.#workers, workerRecordSchema, entry)),
      await buckets.watch("queues", (entry) => keep(this.#queues, queueRecordSchema, entry)),
    ];
    this.#readings.start();
  }

  async stop(): Promise<void> {
    await this.#readings.stop();
    await Promise.all(this.#watches.map((watch) => watch.close()));
  }

  #export(): void {
    const { metrics } = this.#parts;
    for (const tier of TIERS) {
      const up = [...this.#workers.values()].filter((w) => w.spec.tier === tier && UP.has(w.phase));
      const busy = up.filter((worker) => worker.jobs.length > 0).length;
      const waiting = [...this.#queues.values()].filter((queue) => queue.tier === tier);
      metrics.gauge("berth_workers_active", up.length, { tier });
      metrics.gauge("berth_worker_utilization", up.length === 0 ? 0 : busy / up.length, { tier });
      metrics.gauge(
        "berth_queue_depth",
        waiting.reduce((sum, queue) => sum + queue.waiting, 0),
        { tier },
      );
    }
  }
}

function keep<T>(map: Map<string, T>, schema: z.ZodType<T>, { key, value }: KeyEntry): void {
  const parsed = value && schema.safeParse(JSON.parse(decoder.decode(value)));
  if (parsed?.success) map.set(key, parsed.data);
  else map.delete(key);
}
