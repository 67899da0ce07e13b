import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { METRICS, prometheusMetrics } from "../../../deploy/metrics.ts";
import { plainQuery, readDashboards } from "../../support/dashboards.ts";
import { metricsIn, rulesIn } from "../../support/rule-files.ts";
import { ROOT } from "../../support/source.ts";

const RULES = join(ROOT, "deploy", "monitoring", "prometheus", "rules");
const PAGE = readFileSync(join(ROOT, "docs", "operations.md"), "utf8");
const read = (name: string) => readFileSync(join(RULES, name), "utf8");

const rules = ["recording.yml", "alerts.yml"].flatMap((name) => rulesIn(read(name)));
const alerts = rules.filter(({ isAlert }) => isAlert);
const recorded = new Set(rules.filter(({ isAlert }) => !isAlert).map(({ name }) => name));
const dashboards = readDashboards();
const queries = dashboards.flatMap(({ panels, uid }) =>
  panels.flatMap(({ targets, title }) =>
    targets.map(({ expr }) => ({ where: `${uid}, ${title}`, expr: plainQuery(expr, "5m") })),
  ),
);
const expressions = [...queries, ...rules.map(({ expr, name }) => ({ where: name, expr }))];

/** What every series has, and what is grouped by although it is no label of a metric. */
const EVERYWHERE = ["instance", "job"];

/** What a rule or a panel reads that nobody writes, or by a label that it does not have. */
async function strangers(reads: readonly { readonly where: string; readonly expr: string }[]) {
  const types = await prometheusMetrics().text();
  const exported = new Set([...types.matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name));
  const labelsOf = (name: string): readonly string[] | undefined => {
    if (name === "up") return [];
    if (recorded.has(name)) return name.split(":")[0]?.split("_") ?? [];
    const row = METRICS[name];
    if (row) return row.type === "histogram" ? undefined : row.labels;
    const histogram = METRICS[name.replace(/_(?:bucket|sum|count)$/, "")];
    if (histogram?.type === "histogram") return [...histogram.labels, "le"];
    return exported.has(name) ? [] : undefined;
  };
  return reads.flatMap(({ expr, where }) =>
    metricsIn(expr).flatMap(({ labels, name }) => {
      const known = labelsOf(name);
      if (!known) return [`${where} reads ${name}`];
      return labels
        .filter((label) => !known.includes(label) && !EVERYWHERE.includes(label))
        .map((label) => `${where} reads ${name} by ${label}`);
    }),
  );
}

describe("rules and panels", () => {
  it("read only metrics that Berth exports, by labels that they have", async () => {
    expect(expressions.length).toBeGreaterThan(100);
    expect(expressions.filter(({ expr }) => metricsIn(expr).length === 0)).toEqual([]);
    expect(await strangers(expressions)).toEqual([]);
  });

  it("would be found reading what is not there", async () => {
    const wrong = [
      'sum by (tier) (rate(berth_jobs_total{tenant="a"}[5m]))',
      "sum by (worker) (berth_queue_depth)",
      "rate(berth_job_total[5m])",
      "rate(berth_commit_seconds[5m])",
      "tier:berth_no_such:rate5m",
      'tier:berth_jobs:rate5m{status="failed"}',
    ];
    const found = await strangers(wrong.map((expr) => ({ where: "it", expr })));
    expect(found).toEqual([
      "it reads berth_jobs_total by tenant",
      "it reads berth_queue_depth by worker",
      "it reads berth_job_total",
      "it reads berth_commit_seconds",
      "it reads tier:berth_no_such:rate5m",
      "it reads tier:berth_jobs:rate5m by status",
    ]);
  });

  it("have no recorded series that nothing reads", () => {
    const seen = new Set(
      expressions.flatMap(({ expr }) => metricsIn(expr)).map(({ name }) => name),
    );
    expect([...recorded].filter((name) => !seen.has(name))).toEqual([]);
  });
});

/** Growth is read of a series that begins with its first event, which is therefore not seen. */
function missesFirstEvents({ expr }: { readonly expr: string }): boolean {
  const grown = [...expr.matchAll(/\bincrease\((\w+)/g)].map(([, name = ""]) => name);
  return grown.some((name) => {
    const row = METRICS[name];
    if (row?.type !== "counter" || row.labels.length === 0 || row.series) return false;
    return !expr.includes(`(${name} unless ${name} offset `);
  });
}

const LIVE = join(ROOT, "test", "integration", "monitoring");

/** The alerts that some test waits for after it has caused what they tell of. */
function firedLive(): Set<string> {
  const text = readdirSync(LIVE)
    .map((name) => readFileSync(join(LIVE, name), "utf8"))
    .join("\n");
  const waits = [...text.matchAll(/\bprometheus\.fires\(([^)]*)\)/g)];
  return new Set(
    waits.flatMap(([, names = ""]) => [...names.matchAll(/"(\w+)"/g)].map(([, name = ""]) => name)),
  );
}

describe("every rule", () => {
  it("sees the first event of what it counts", () => {
    expect(rules.filter(missesFirstEvents).map(({ name }) => name)).toEqual([]);
    const late = "increase(berth_dead_letters_total[10m]) > 0";
    expect(missesFirstEvents({ expr: late })).toBe(true);
  });
});

describe("every alert", () => {
  it("is made to fire by its cause, on a real Berth that a real Prometheus scrapes", () => {
    const names = alerts.map(({ name }) => name);
    expect([...firedLive()].toSorted()).toEqual(names.toSorted());
  });

  it("is one of a kind, and says how bad it is, what is wrong, and where its section is", () => {
    const names = alerts.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    expect(names).toEqual(
      expect.arrayContaining(["HighQueueDepth", "WorkerPoolExhausted", "LongQueueWait"]),
    );
    for (const { fields, name } of alerts) {
      expect(fields.get("severity"), name).toMatch(/^(?:warning|critical)$/);
      expect(fields.get("summary"), name).toBeDefined();
      expect(fields.get("description"), name).toBeDefined();
      expect(fields.get("runbook_url")).toBe(`docs/operations.md#alert-${name.toLowerCase()}`);
    }
  });

  it("has a section that says what to look at and what to do, and no section is of none", () => {
    const sections = PAGE.split(/^#{2,3} /m).filter((text) => text.startsWith("Alert "));
    const titles = sections.map((text) => text.split("\n")[0]?.replace("Alert ", ""));
    expect(titles).toEqual(alerts.map(({ name }) => name));
    for (const text of sections) {
      expect(text).toMatch(/^- Look: .{20,}$/m);
      expect(text).toMatch(/^- Do: .{20,}$/m);
    }
  });

  it("has a test in which it fires and one in which it does not", () => {
    const tests = readdirSync(RULES)
      .filter((name) => name.endsWith(".test.yml"))
      .map(read)
      .join("\n");
    const checks = tests.split(/^ {6}- (?=expr|alertname)/m);
    for (const { name } of alerts) {
      const own = checks.filter((text) =>
        new RegExp(`^(?:alertname: ${name}$|.*alertname="${name}")`, "m").test(
          text.split("\n")[0] ?? "",
        ),
      );
      const quiet = own.filter((text) => /exp_(?:samples|alerts): \[\]/.test(text));
      expect(quiet.length, `${name} is quiet`).toBeGreaterThan(0);
      expect(own.length, `${name} fires`).toBeGreaterThan(quiet.length);
    }
  });
});

describe("the dashboards", () => {
  it("are one of a kind, and so are the panels of each", () => {
    expect(new Set(dashboards.map(({ uid }) => uid)).size).toBe(dashboards.length);
    for (const { panels, uid } of dashboards) {
      for (const field of ["id", "title"] as const) {
        expect(new Set(panels.map((panel) => panel[field])).size, uid).toBe(panels.length);
      }
      for (const { targets, title } of panels) {
        expect(new Set(targets.map(({ refId }) => refId)).size, title).toBe(targets.length);
      }
    }
  });

  it("have no panel over another or beside the page", () => {
    for (const { panels } of dashboards) {
      const cells = panels.flatMap(({ gridPos: { h, w, x, y } }) =>
        Array.from({ length: w * h }, (_, i) => `${x + (i % w)},${y + Math.floor(i / w)}`),
      );
      expect(new Set(cells).size).toBe(cells.length);
      for (const { gridPos } of panels) expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
    }
  });

  it("use no variable that they do not have", () => {
    for (const { panels, templating, uid } of dashboards) {
      const names = new Set([...templating.list.map(({ name }) => name), "__rate_interval"]);
      const used = panels
        .flatMap(({ targets }) => targets)
        .flatMap(({ expr }) => [...expr.matchAll(/\$\{?(\w+)/g)].map(([, name = ""]) => name));
      expect(
        used.filter((name) => !names.has(name)),
        uid,
      ).toEqual([]);
    }
  });

  it("show first the four panels that everybody looks for", () => {
    const overview = dashboards.find(({ uid }) => uid === "berth-overview");
    expect(overview?.panels.slice(0, 4).map(({ title }) => title)).toEqual([
      "Jobs by tier",
      "Worker utilization",
      "Queue depth",
      "Job duration (p95)",
    ]);
  });
});
