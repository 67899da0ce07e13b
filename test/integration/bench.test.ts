/** The benchmarks run from end to end, so that they do not rot. What they measure here means nothing. */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { describeDocker, EXECUTOR_IMAGE } from "../support/docker.ts";

/** Three brokers and a dozen processes start one after the other; a busy machine takes its time. */
const WHOLE_RUN_MS = 240_000;
const WITHOUT_DOCKER = [
  "ask",
  "durable-turn",
  "synced-turn",
  "turn-profile",
  "take-over",
  "idle-actors",
  "jobs",
  "output",
].flatMap((name) => ["--only", name]);
const MAIN = new URL("../../dist/bench/main.js", import.meta.url).pathname;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "berth-bench-test-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function runBench(...args: readonly string[]) {
  const child = spawn(process.execPath, [MAIN, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, BERTH_BENCH_IMAGE: EXECUTOR_IMAGE },
  });
  const exited = new Promise<number | null>((resolve) => child.once("close", resolve));
  const [table, progress, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    exited,
  ]);
  return { table, progress, code };
}

interface Report {
  readonly machine: string;
  readonly results: readonly {
    readonly scenario: string;
    readonly rows: readonly { readonly label: string; readonly ours: readonly number[] }[];
    readonly rounds: readonly { readonly ours: { readonly latencies_us: readonly number[] } }[];
    readonly figures: readonly { readonly label: string; readonly values: readonly number[] }[];
  }[];
}

function valuesOf({ results }: Report, scenario: string, label: string) {
  const figures = results
    .filter((result) => result.scenario === scenario)
    .flatMap((r) => r.figures);
  return figures.find((figure) => figure.label === label)?.values;
}

describe("the benchmarks", () => {
  it(
    "run quickly, print their table and write every sample",
    async () => {
      const out = join(folder, "result.json");
      const { code, progress, table } = await runBench("--quick", "--out", out, ...WITHOUT_DOCKER);
      expect(code, progress).toBe(0);
      expect(table).toMatch(/^ask: .*>= 0\.85/m);
      const report = JSON.parse(await readFile(out, "utf8")) as Report;
      expect(report.machine).toContain("nats-server");
      const scenarios = new Set(report.results.map(({ scenario }) => scenario));
      expect([...scenarios]).toEqual([
        "ask",
        "durable-turn",
        "synced-turn",
        "turn-profile",
        "take-over",
        "idle-actors",
        "jobs",
        "output",
      ]);
      for (const { figures, rounds, rows } of report.results) {
        for (const { label, values } of figures) {
          expect(values.length, label).toBeGreaterThan(0);
          for (const value of values) expect(value, label).not.toBeNaN();
        }
        if (figures.length > 0) continue;
        expect(rounds).toHaveLength(1);
        expect(rounds[0]?.ours.latencies_us.length).toBeGreaterThan(0);
        for (const { ours, label } of rows) expect(ours[0], label).toBeGreaterThan(0);
      }
      expect(valuesOf(report, "take-over", "R1, R2, R3 broken")).toEqual([0]);
      expect(valuesOf(report, "idle-actors", "consumers added")).toEqual([0]);
    },
    WHOLE_RUN_MS,
  );

  it("say what they take when they are asked for what they do not have", async () => {
    const { code, progress } = await runBench("--only", "nothing");
    expect(code).toBe(2);
    expect(progress).toContain('no scenario "nothing"; there are ask');
    expect(progress).toContain("--rounds");
  });
});

describeDocker("the benchmarks of containers", () => {
  it(
    "start some in each way, fail none of a burst, and write every sample",
    async () => {
      const out = join(folder, "result.json");
      const only = ["starts", "burst"].flatMap((name) => ["--only", name]);
      const { code, progress } = await runBench("--quick", "--out", out, ...only);
      expect(code, progress).toBe(0);
      const report = JSON.parse(await readFile(out, "utf8")) as Report;
      const labels = report.results.flatMap(({ figures, rows }) =>
        [...figures, ...rows].map(({ label }) => label),
      );
      expect(
        labels.filter((label) => /^(cold|dormant|warm|back from zero)/.test(label)),
      ).toHaveLength(6);
      expect(valuesOf(report, "burst", "burst of 2 cold users: failed")).toEqual([0]);
    },
    WHOLE_RUN_MS,
  );
});
