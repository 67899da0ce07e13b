/** What deploy/monitoring has for Prometheus and Grafana, by promtool and by a real Prometheus that scrapes a live Berth. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { connect, credsAuthenticator } from "@nats-io/transport-node";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { DevFile } from "../../../protocols/api.ts";
import { type BerthProcess, spawnBerth } from "../../support/berth-process.ts";
import { plainQuery, readDashboards } from "../../support/dashboards.ts";
import { eventually } from "../../support/eventually.ts";
import {
  describePrometheus,
  type Prometheus,
  promtool,
  startPrometheus,
} from "../../support/prometheus.ts";
import { metricsIn, rulesIn } from "../../support/rule-files.ts";
import { ROOT } from "../../support/source.ts";

const RULES = join(ROOT, "deploy", "monitoring", "prometheus", "rules");

describePrometheus("promtool", () => {
  test("takes the configuration and every rule", async () => {
    const { code, stderr, stdout } = await promtool("check", "config", "prometheus.yml");
    expect(code, stdout + stderr).toBe(0);
    expect(stdout).toContain("2 rule files found");
  });

  test("sees each alert fire, and stay quiet, when its test says so", async () => {
    const tests = readdirSync(RULES).filter((name) => name.endsWith(".test.yml"));
    expect(tests.length).toBeGreaterThan(3);
    const paths = tests.map((name) => join("rules", name));
    const { code, stderr, stdout } = await promtool("test", "rules", ...paths);
    expect(code, stdout + stderr).toBe(0);
  });
});

/** What `berth up` has no value of when its workers are processes, and why. */
const ABSENT: Readonly<Record<string, string>> = {
  berth_broker_storage_limit_bytes: "its account has no limit",
  berth_broker_memory_limit_bytes: "its account has no limit",
  "berth:broker_storage:ratio": "its account has no limit",
  berth_egress_connections_total: "processes go out by no proxy",
};

/** What has a value after a fault only, and which. */
const AFTER_A_FAULT: Readonly<Record<string, string>> = {
  berth_takeover_seconds_bucket: "a node that takes partitions over while it is watched",
  berth_commit_conflicts_total: "two nodes that write one record",
  "kind:berth_commit_conflicts:increase10m": "the same",
  berth_turn_failures_total: "a handler that throws",
  berth_worker_exits_total: "a worker that ends by itself",
  berth_reconcile_removed_total: "a host that holds what nobody wants",
  "what:berth_reconcile_removed:increase10m": "the same",
};

const reads = (expr: string, table: Readonly<Record<string, string>>) =>
  metricsIn(expr).some(({ name }) => Object.hasOwn(table, name));

const queries = readDashboards().flatMap(({ panels }) =>
  panels.flatMap(({ targets }) => targets.map(({ expr }) => plainQuery(expr, "1m"))),
);
const recorded = rulesIn(readFileSync(join(RULES, "recording.yml"), "utf8"));

const FREE = { minWorkers: 1, maxWorkers: 2, concurrentJobs: null, jobsPerHour: 1_000 };
const MANY = 60;

describePrometheus("a Prometheus that scrapes a live Berth", () => {
  let berth: BerthProcess;
  let dev: DevFile;
  let prometheus: Prometheus;
  beforeAll(async () => {
    berth = await spawnBerth({
      BERTH_TIERS: JSON.stringify({ free: FREE, pro: { idleTimeoutMs: "1s" } }),
      BERTH_SWEEP_EVERY: "2s",
    });
    dev = await berth.dev();
    prometheus = await startPrometheus({ gateways: [new URL(dev.metrics_url).host] });
  });
  afterAll(async () => {
    await prometheus?.[Symbol.asyncDispose]();
    await berth?.[Symbol.asyncDispose]();
  });

  async function submit(tier: "free" | "pro", prompt: string): Promise<string> {
    const answer = await fetch(`${dev.url}/v1/jobs`, {
      method: "POST",
      headers: { authorization: `Bearer ${dev.keys[tier]}`, "content-type": "application/json" },
      body: JSON.stringify({ agent: "shell", prompt }),
    });
    const text = await answer.text();
    expect(answer.status, text).toBe(202);
    return (JSON.parse(text) as { id: string }).id;
  }

  /** Reads a job's events until it has ended. */
  async function follow(tier: "free" | "pro", job: string): Promise<string> {
    const answer = await fetch(`${dev.url}/v1/jobs/${job}/events`, {
      headers: { authorization: `Bearer ${dev.keys[tier]}`, accept: "text/event-stream" },
      signal: AbortSignal.timeout(30_000),
    });
    expect(answer.status).toBe(200);
    const decoder = new TextDecoder();
    let text = "";
    for await (const chunk of answer.body ?? []) {
      text += decoder.decode(chunk, { stream: true });
      if (/job\.(?:succeeded|failed)/.test(text)) break;
    }
    return text;
  }

  /** Some of everything: jobs that succeed and fail, two at once, and a stranger. */
  async function work(): Promise<void> {
    const jobs = ["sleep 1", "sleep 1", "exit 3"];
    const both = (["free", "pro"] as const).flatMap((tier) => jobs.map((job) => ({ tier, job })));
    const ends = both.map(async ({ job, tier }) => await follow(tier, await submit(tier, job)));
    const events = (await Promise.all(ends)).join("\n");
    expect(events).toContain("job.succeeded");
    expect(events).toContain("job.failed");
    const strange = await fetch(`${dev.url}/v1/jobs`, {
      headers: { authorization: "Bearer brt_x" },
    });
    expect(strange.status).toBe(401);
  }

  test("finds its target, takes every rule, and has nothing to say in peace", async () => {
    await eventually(
      async () => (await prometheus.values('up{job="berth-gateway"} == 1')).length === 1,
      {
        within: 20_000,
        name: "the target is up",
      },
    );
    const rules = await eventually(
      async () => {
        const all = await prometheus.rules();
        return all.every(({ health }) => health !== "unknown") && all;
      },
      { name: "every rule was evaluated", within: 20_000 },
    );
    expect(rules.filter(({ health }) => health !== "ok")).toEqual([]);
    const loaded = rules.filter(({ type }) => type === "recording").map(({ name }) => name);
    expect(new Set(loaded)).toEqual(new Set(recorded.map(({ name }) => name)));
    // That nothing holds a partition was true before the first scrape.
    await eventually(async () => expect(await prometheus.firing()).toEqual([]), {
      name: "nothing fires",
      within: 20_000,
    });
  });

  test("says so when a message cannot be handled", async () => {
    const creds = readFileSync(dev.nats_creds ?? "");
    const nats = await connect({
      servers: new URL(dev.nats_url).host,
      authenticator: credsAuthenticator(creds),
    });
    try {
      const bad = JSON.stringify({ id: "by-hand", type: "nonsense", payload: {}, sentAt: 0 });
      await nats.request("berth.mail.dev-pro.user.dev.user", bad, { timeout: 10_000 });
      await prometheus.fires("DeadLetters");
      expect(await prometheus.values("kind:berth_dead_letters:increase10m")).toEqual([1]);
    } finally {
      await nats.close();
    }
  });

  test("has data for every recorded series and every panel that needs no fault", {
    timeout: 180_000,
  }, async () => {
    const asked = [...new Set([...queries, ...recorded.flatMap(({ expr, name }) => [expr, name])])];
    const hasData = async (query: string) =>
      (await prometheus.values(query)).some((value) => Number.isFinite(value));
    // Twice: a rate is seen between two scrapes, and a series is there from its first event on.
    await work();
    await eventually(async () => (await prometheus.values("berth_jobs_total")).length >= 4, {
      name: "the first jobs are scraped",
      within: 20_000,
    });
    await work();
    const silent = new Set(
      asked.filter((query) => !reads(query, ABSENT) && !reads(query, AFTER_A_FAULT)),
    );
    await eventually(
      async () => {
        for (const query of silent) if (await hasData(query)) silent.delete(query);
        return silent.size === 0;
      },
      { name: "all have data", within: 40_000 },
    ).catch(() => undefined);
    expect([...silent]).toEqual([]);
    for (const query of asked) {
      const data = await hasData(query);
      if (reads(query, ABSENT)) expect(data, `${query} needs no excuse`).toBe(false);
    }
  });

  test("says so when jobs wait and the shared pool has no worker to spare", async () => {
    await Promise.all(Array.from({ length: MANY }, () => submit("free", "sleep 120")));
    await prometheus.fires("HighQueueDepth", "WorkerPoolExhausted");
    expect(await prometheus.values('tier:berth_queue_depth:max{tier="free"} > 50')).toHaveLength(1);
  });

  test("says so when the process is killed, and takes it back when it is there again", async () => {
    await berth.kill();
    await prometheus.fires("TargetDown", "NoPartitionHeld");
    await berth.start();
    await eventually(
      async () => {
        const names = await prometheus.firing();
        return !names.includes("TargetDown") && !names.includes("NoPartitionHeld");
      },
      { name: "it is back", within: 20_000 },
    );
  });
});
