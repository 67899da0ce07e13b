import { describe, expect, it } from "vitest";
import { contest, isMet, rowsOf } from "../../../bench/contest.ts";
import { keepInFlight, keepRate } from "../../../bench/load.ts";
import { parseOptions } from "../../../bench/options.ts";
import type { Comparison, Sample } from "../../../bench/scenario.ts";
import { median, percentile } from "../../../bench/statistics.ts";

const signal = new AbortController().signal;
const sample = (count: number): Sample => ({ count, elapsedMs: 1_000, latenciesMs: [1, 2, 3] });
const benchOf = (rounds: number) => ({
  options: parseOptions(["--rounds", String(rounds)]),
  signal,
  say: () => {},
  uses: () => {},
  undo: () => {},
});

describe("a contest", () => {
  it("measures in turns, and lets the other side begin every second round", async () => {
    const order: string[] = [];
    const measure = (name: string) => () => {
      order.push(name);
      return Promise.resolve(sample(1));
    };
    const comparison: Comparison = {
      name: "x",
      peerName: "y",
      ours: measure("ours"),
      peer: measure("peer"),
      rows: [],
    };
    await contest(benchOf(2), comparison);
    const warmUp = ["ours", "peer"];
    expect(order).toEqual([...warmUp, "ours", "peer", "peer", "ours"]);
  });

  it("compares each round with itself, not medians of different rounds", async () => {
    const given = { ours: [50, 10, 90, 40], peer: [100, 20, 100, 50] };
    const next = (side: "ours" | "peer") => () => Promise.resolve(sample(given[side].shift() ?? 0));
    const comparison: Comparison = {
      name: "x",
      peerName: "y",
      ours: next("ours"),
      peer: next("peer"),
      rows: [{ label: "rate", metric: "rate", goal: { atLeast: 0.8 } }],
    };
    const [row] = rowsOf(comparison, await contest(benchOf(3), comparison));
    expect(row?.ratios).toEqual([0.5, 0.9, 0.8]);
    expect(row?.met).toBe(true);
  });

  it("without a peer meets nothing and misses nothing", async () => {
    const comparison: Comparison = {
      name: "x",
      peerName: "not installed",
      ours: () => Promise.resolve(sample(1)),
      peer: undefined,
      rows: [{ label: "rate", metric: "rate", goal: { atLeast: 1 } }],
    };
    const [row] = rowsOf(comparison, await contest(benchOf(1), comparison));
    expect(row).toMatchObject({ met: undefined, ratios: [] });
  });

  it("judges added milliseconds by the median difference", () => {
    expect(isMet({ atMostAddedMs: 3 }, [5, 9, 5], [3, 3, 3])).toBe(true);
    expect(isMet({ atMostAddedMs: 3 }, [5, 9, 9], [3, 3, 3])).toBe(false);
  });
});

describe("statistics", () => {
  it("take percentiles by nearest rank", () => {
    const hundred = Array.from({ length: 100 }, (_, n) => n + 1);
    expect(percentile(hundred, 0.5)).toBe(50);
    expect(percentile(hundred, 0.99)).toBe(99);
    expect(percentile([7], 0.99)).toBe(7);
    expect(percentile([], 0.5)).toBeNaN();
  });

  it("take the mean of the two in the middle for an even number", () => {
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(median([3, 1, 2])).toBe(2);
  });
});

describe("load", () => {
  it("keeps so many calls open, not more", async () => {
    let open = 0;
    let most = 0;
    const call = async () => {
      open += 1;
      most = Math.max(most, open);
      await new Promise((resolve) => setImmediate(resolve));
      open -= 1;
    };
    const { count, latenciesMs } = await keepInFlight({ ms: 20, signal }, 8, call);
    expect(most).toBe(8);
    expect(latenciesMs).toHaveLength(count);
  });

  it("at a rate makes all its calls, also when one of them stalls the rest", async () => {
    const load = { perSecond: 1_000, lanes: 1 };
    const { count } = await keepRate({ ms: 20, signal }, load, () => Promise.resolve());
    expect(count).toBe(20);
  });

  it("ends with the interruption instead of a sample cut short", async () => {
    const interrupted = new AbortController();
    const call = () => Promise.resolve(interrupted.abort(new Error("interrupted")));
    const stretch = { ms: 60_000, signal: interrupted.signal };
    await expect(keepInFlight(stretch, 2, call)).rejects.toThrow("interrupted");
  });
});

describe("options", () => {
  it("refuse what is no number", () => {
    expect(() => parseOptions(["--rounds", "many"])).toThrow("--rounds takes a number above 0");
    expect(() => parseOptions(["--rounds", "1.5"])).toThrow("whole");
  });

  it("let --quick be changed by what is said beside it", () => {
    expect(parseOptions(["--quick"])).toMatchObject({ rounds: 1, stretchMs: 200 });
    expect(parseOptions(["--quick", "--rounds", "2"])).toMatchObject({ rounds: 2, stretchMs: 200 });
  });
});
