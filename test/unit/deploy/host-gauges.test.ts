import { describe, expect, it } from "vitest";
import { HostGauges } from "../../../deploy/host-gauges.ts";
import { prometheusMetrics } from "../../../deploy/metrics.ts";
import type { LiveWorker } from "../../../executor/drivers/driver.ts";
import { BerthError } from "../../../protocols/errors.ts";
import type { WorkerUse } from "../../../protocols/executor.ts";
import type { Tier } from "../../../protocols/tiers.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { valuesIn } from "../../support/metrics-text.ts";

function gauging() {
  const live = new Map<string, { tier: Tier; cpuMs: number; memory: number }>();
  const state = { isAway: false, dormant: {} as Record<string, number> };
  const use = (): Promise<ReadonlyMap<string, WorkerUse>> => {
    if (state.isAway) return Promise.reject(new BerthError("driver.failed"));
    const entries = [...live].map(([worker, { cpuMs, memory }]): [string, WorkerUse] => [
      worker,
      {
        image: null,
        cpu_ms: cpuMs,
        memory_bytes: memory,
        memory_limit_bytes: null,
        processes: 1,
      },
    ]);
    return Promise.resolve(new Map(entries));
  };
  const list = () =>
    Promise.resolve(
      [...live].map(([worker, { tier }]) => ({ worker, spec: { worker, tier } }) as LiveWorker),
    );
  const metrics = prometheusMetrics();
  const clock = new ManualClock();
  const driver = { list, use, dormant: () => state.dormant };
  const gauges = new HostGauges({ driver, clock, logger: silentLogger, metrics });
  const read = async (name: string, tier: Tier) =>
    valuesIn(await metrics.text(), name).get(`{tier="${tier}"}`);
  return { clock, gauges, live, metrics, read, state };
}

describe("the gauges of a host", () => {
  it("sum the memory of its workers by tier, and say nothing of any one of them", async () => {
    const { gauges, live, metrics, read, state } = gauging();
    live.set("wrk-a", { tier: "pro", cpuMs: 0, memory: 100 });
    live.set("wrk-b", { tier: "pro", cpuMs: 0, memory: 20 });
    live.set("wrk-c", { tier: "free", cpuMs: 0, memory: 3 });
    state.dormant = { pro: 2 };
    await gauges.read();
    expect(await read("berth_worker_memory_bytes", "pro")).toBe(120);
    expect(await read("berth_worker_memory_bytes", "free")).toBe(3);
    expect(await read("berth_worker_memory_bytes", "enterprise")).toBe(0);
    expect(await read("berth_workers_dormant", "pro")).toBe(2);
    expect(await read("berth_workers_dormant", "free")).toBe(0);
    expect(await metrics.text()).not.toContain("wrk-");
    live.clear();
    state.dormant = {};
    await gauges.read();
    expect(await read("berth_worker_memory_bytes", "pro")).toBe(0);
    expect(await read("berth_workers_dormant", "pro")).toBe(0);
  });

  it("count CPU time as it grows: all of a new worker's, none of the past of one that was adopted", async () => {
    const { gauges, live, read } = gauging();
    const cpu = () => read("berth_worker_cpu_seconds_total", "pro");
    live.set("adopted", { tier: "pro", cpuMs: 3_600_000, memory: 1 });
    await gauges.read();
    expect(await cpu()).toBe(0);
    live.set("adopted", { tier: "pro", cpuMs: 3_601_000, memory: 1 });
    live.set("new", { tier: "pro", cpuMs: 500, memory: 1 });
    await gauges.read();
    expect(await cpu()).toBe(1.5);
    live.set("new", { tier: "pro", cpuMs: 200, memory: 1 });
    live.delete("adopted");
    await gauges.read();
    expect(await cpu()).toBe(1.5);
    live.set("new", { tier: "pro", cpuMs: 700, memory: 1 });
    await gauges.read();
    expect(await cpu()).toBe(2);
  });

  it("go on when the engine is back, and leave nothing behind when they stop", async () => {
    const { clock, gauges, live, read, state } = gauging();
    live.set("wrk-a", { tier: "pro", cpuMs: 0, memory: 100 });
    state.isAway = true;
    gauges.start();
    await clock.advance(10_000);
    expect(await read("berth_worker_memory_bytes", "pro")).toBeUndefined();
    state.isAway = false;
    await clock.advance(10_000);
    expect(await read("berth_worker_memory_bytes", "pro")).toBe(100);
    await gauges.stop();
    expect(clock.pending).toBe(0);
  });
});
