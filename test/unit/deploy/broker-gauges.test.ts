import { describe, expect, it } from "vitest";
import { BrokerGauges } from "../../../deploy/broker-gauges.ts";
import { prometheusMetrics } from "../../../deploy/metrics.ts";
import { BerthError } from "../../../protocols/errors.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import type { BrokerUse } from "../../../runtime/nats/broker-use.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { valuesIn } from "../../support/metrics-text.ts";

const USE: BrokerUse = {
  storageBytes: 4_000,
  memoryBytes: 200,
  streams: 12,
  consumers: 3,
  apiErrors: 1,
  storageLimitBytes: 10_000,
  memoryLimitBytes: 0,
};

function gauging() {
  const broker = { use: USE, isAway: false, asked: 0 };
  const metrics = prometheusMetrics();
  const clock = new ManualClock();
  const read = () => {
    broker.asked += 1;
    return broker.isAway
      ? Promise.reject(new BerthError("broker.unavailable"))
      : Promise.resolve(broker.use);
  };
  const gauges = new BrokerGauges({ read, clock, logger: silentLogger, metrics });
  const value = async (name: string, labels = "") =>
    valuesIn(await metrics.text(), `berth_broker_${name}`).get(labels);
  return { broker, clock, gauges, value };
}

describe("the gauges of the broker", () => {
  it("show what the account holds and may hold, from the start and every 15 seconds", async () => {
    const { broker, clock, gauges, value } = gauging();
    gauges.start();
    await clock.advance(0);
    expect(await value("storage_bytes")).toBe(4_000);
    expect(await value("storage_limit_bytes")).toBe(10_000);
    expect(await value("memory_bytes")).toBe(200);
    expect(await value("memory_limit_bytes")).toBe(0);
    expect(await value("streams")).toBe(12);
    expect(await value("consumers")).toBe(3);
    expect(await value("api_errors")).toBe(1);
    broker.use = { ...USE, storageBytes: 5_000 };
    await clock.advance(14_999);
    expect(broker.asked).toBe(1);
    await clock.advance(1);
    expect(await value("storage_bytes")).toBe(5_000);
    await gauges.stop();
    expect(clock.pending).toBe(0);
  });

  it("keep their values while the broker is away, and count that they could not be read", async () => {
    const { broker, clock, gauges, value } = gauging();
    gauges.start();
    await clock.advance(0);
    broker.isAway = true;
    await clock.advance(30_000);
    expect(await value("storage_bytes")).toBe(4_000);
    expect(await value("readings_total", '{result="done"}')).toBe(1);
    expect(await value("readings_total", '{result="failed"}')).toBe(2);
    broker.isAway = false;
    await clock.advance(15_000);
    expect(await value("readings_total", '{result="done"}')).toBe(2);
    await gauges.stop();
  });
});
