import { describe, expect, it } from "vitest";
import { prometheusMetrics } from "../../../deploy/metrics.ts";
import { StartMetrics } from "../../../executor/start-metrics.ts";
import type { StartStep } from "../../../protocols/executor.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { valuesIn } from "../../support/metrics-text.ts";

function observing() {
  const metrics = prometheusMetrics();
  const clock = new ManualClock();
  const read = async (name: string) => Object.fromEntries(valuesIn(await metrics.text(), name));
  return { clock, counts: new StartMetrics(metrics, clock), read };
}

describe("a start", () => {
  it.each<[string, StartStep[], string]>([
    ["is cold when everything is made for it", ["creating", "starting", "connecting"], "cold"],
    ["is dormant when one was claimed", ["claiming", "connecting"], "dormant"],
    ["is cold after a claim that another won", ["claiming", "creating", "connecting"], "cold"],
    ["is cold when its driver tells no steps", [], "cold"],
  ])("%s", async (_, steps, kind) => {
    const { clock, counts, read } = observing();
    const start = counts.begin({ tier: "pro" });
    for (const step of steps) start.step(step);
    await clock.advance(400);
    start.end("started");
    expect(await read("berth_worker_starts_total")).toEqual({
      [`{tier="pro",kind="${kind}",outcome="started"}`]: 1,
    });
    const labels = `tier="pro",kind="${kind}"`;
    expect(await read("berth_worker_start_seconds_sum")).toEqual({ [`{${labels}}`]: 0.4 });
    expect(await read("berth_worker_start_seconds_bucket")).toMatchObject({
      [`{le="0.25",${labels}}`]: 0,
      [`{le="0.5",${labels}}`]: 1,
    });
  });

  it("that failed is counted, and its time is not among the starts'", async () => {
    const { counts, read } = observing();
    counts.begin({ tier: "free" }).end("failed");
    expect(await read("berth_worker_starts_total")).toEqual({
      '{tier="free",kind="cold",outcome="failed"}': 1,
    });
    expect(await read("berth_worker_start_seconds_count")).toEqual({});
  });
});
