/** What pods use, from the metrics API: it tells of the rate at which processors are used, and the sum is ours. */
import { z } from "zod";
import type { WorkerUse } from "../../../protocols/executor.ts";
import type { Cluster } from "./cluster.ts";
import { WORKER_CONTAINER } from "./pod.ts";
import { parseQuantity } from "./quantity.ts";

const metricsSchema = z.object({
  items: z.array(
    z.object({
      metadata: z.object({ name: z.string() }),
      timestamp: z.string(),
      containers: z.array(
        z.object({
          name: z.string(),
          usage: z.object({ cpu: z.string(), memory: z.string() }),
        }),
      ),
    }),
  ),
});

interface Reading {
  readonly at: number;
  readonly cpuMs: number;
}

export interface Measured {
  readonly pod: string;
  readonly worker: string;
  readonly memoryLimitBytes: number;
}

export class Usage {
  readonly #cluster: Cluster;
  readonly #selector: string;
  readonly #image: string;
  /** Sums so far, by pod. */
  #readings = new Map<string, Reading>();

  constructor(parts: {
    readonly cluster: Cluster;
    readonly selector: string;
    readonly image: string;
  }) {
    this.#cluster = parts.cluster;
    this.#selector = parts.selector;
    this.#image = parts.image;
  }

  /** Of those that the cluster measures: none where it has no metrics server. */
  async of(live: readonly Measured[]): Promise<ReadonlyMap<string, WorkerUse>> {
    const text = live.length === 0 ? undefined : await this.#cluster.metrics(this.#selector);
    if (text === undefined) return new Map();
    const pods = new Map(live.map((one) => [one.pod, one]));
    const next = new Map<string, Reading>();
    const use = new Map<string, WorkerUse>();
    for (const { containers, metadata, timestamp } of metricsSchema.parse(JSON.parse(text)).items) {
      const of = pods.get(metadata.name);
      const found = containers.find(({ name }) => name === WORKER_CONTAINER);
      if (of === undefined || found === undefined) continue;
      const reading = this.#sum(
        metadata.name,
        Date.parse(timestamp),
        parseQuantity(found.usage.cpu),
      );
      next.set(metadata.name, reading);
      use.set(of.worker, {
        image: this.#image,
        cpu_ms: Math.round(reading.cpuMs),
        memory_bytes: parseQuantity(found.usage.memory),
        memory_limit_bytes: of.memoryLimitBytes,
        processes: null,
      });
    }
    this.#readings = next;
    return use;
  }

  #sum(pod: string, at: number, cpus: number): Reading {
    const before = this.#readings.get(pod);
    if (before === undefined) return { at, cpuMs: 0 };
    return at <= before.at ? before : { at, cpuMs: before.cpuMs + cpus * (at - before.at) };
  }
}
