import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { METRICS, prometheusMetrics } from "../../../deploy/metrics.ts";
import { valuesIn } from "../../support/metrics-text.ts";
import { readSources } from "../../support/source.ts";

const LAYERS = ["runtime", "actors", "executor", "gateway", "deploy"];
const USE = /\b(count|gauge|observe)\(\s*"(berth_\w+)"/g;
const TYPE_OF = { count: "counter", gauge: "gauge", observe: "histogram" } as const;

const uses = readSources(LAYERS).flatMap(({ path, text }) =>
  [...text.matchAll(USE)].map(([, call, name]) => ({
    path,
    name: name ?? "",
    type: TYPE_OF[call as keyof typeof TYPE_OF],
  })),
);

describe("the table of metrics", () => {
  it("has every metric that the code writes, as the type it writes: an unknown one would throw at its first use", () => {
    expect(uses.length).toBeGreaterThan(10);
    for (const { name, path, type } of uses) {
      expect(METRICS[name]?.type, `${name} in ${path}`).toBe(type);
    }
  });

  it("has none that no code writes: it would stand at nothing for ever", () => {
    const written = new Set(uses.map(({ name }) => name));
    expect(Object.keys(METRICS).filter((name) => !written.has(name))).toEqual([]);
  });

  it("names what people's dashboards read", () => {
    expect(Object.keys(METRICS)).toEqual(
      expect.arrayContaining([
        "berth_jobs_total",
        "berth_job_duration_seconds",
        "berth_workers_active",
        "berth_worker_utilization",
        "berth_queue_depth",
        "berth_queue_wait_seconds",
      ]),
    );
  });

  it("is what the page for operators shows, label by label", () => {
    const page = readFileSync(new URL("../../../docs/operations.md", import.meta.url), "utf8");
    const shown = [...page.matchAll(/`(berth_\w+)(?:\{([\w,]+)\})?`/g)].map(
      ([, name = "", labels]) => ({ name, labels: labels?.split(",") }),
    );
    for (const { labels, name } of shown) {
      const row = METRICS[name];
      expect(row, name).toBeDefined();
      if (labels) expect(labels, name).toEqual(row?.labels);
    }
    const names = new Set(shown.map(({ name }) => name));
    const ofWorkers = Object.keys(METRICS).filter((name) => /^berth_(worker|job|queue)/.test(name));
    expect(ofWorkers.filter((name) => !names.has(name))).toEqual([]);
  });

  it("has the series whose names are known from the start, so that their first event is seen as growth", async () => {
    const text = await prometheusMetrics().text();
    const readings = valuesIn(text, "berth_broker_readings_total");
    expect(Object.fromEntries(readings)).toEqual({ '{result="done"}': 0, '{result="failed"}': 0 });
  });

  it("is exported whole, also what nothing has written yet", async () => {
    const text = await prometheusMetrics().text();
    for (const name of Object.keys(METRICS)) expect(text).toContain(`# TYPE ${name} `);
  });
});
