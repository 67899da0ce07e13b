/** What a host counts of its workers' starts and ends. No label names a worker, a tenant or a user: their number is bounded. */
import type { StartStep, WorkerSpec } from "../protocols/executor.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Metrics } from "../runtime/metrics.ts";
import type { WorkerExit } from "./drivers/driver.ts";

/** One start that is under way. */
export interface ObservedStart {
  step(step: StartStep): void;
  /** Once, when the worker was heard or given up. */
  end(outcome: "started" | "failed"): void;
}

export class StartMetrics {
  readonly #metrics: Metrics;
  readonly #clock: Clock;

  constructor(metrics: Metrics, clock: Clock) {
    this.#metrics = metrics;
    this.#clock = clock;
  }

  begin({ tier }: Pick<WorkerSpec, "tier">): ObservedStart {
    const startedAt = this.#clock.monotonic();
    let kind = "cold";
    return {
      step(step) {
        // A claim that another won goes on as a cold start.
        if (step === "claiming") kind = "dormant";
        if (step === "creating") kind = "cold";
      },
      end: (outcome) => {
        this.#metrics.count("berth_worker_starts_total", { tier, kind, outcome });
        if (outcome === "failed") return;
        const seconds = (this.#clock.monotonic() - startedAt) / 1_000;
        this.#metrics.observe("berth_worker_start_seconds", seconds, { tier, kind });
      },
    };
  }

  exited({ code, spec: { tier } }: Pick<WorkerExit, "code" | "spec">): void {
    this.#metrics.count("berth_worker_exits_total", { tier, code });
  }
}
