import { describe, expect, it } from "vitest";
import { sharesOf } from "../../../bench/cpu-profile.ts";
import { type Figure, formatFigure, type Unit } from "../../../bench/figure.ts";
import { formatTable } from "../../../bench/report.ts";

function tableOf(figure: Partial<Figure>): string {
  const figures = [{ label: "p99", unit: "ms" as const, values: [1], note: "of all", ...figure }];
  const about = { scenario: "s", question: "?", name: "take-over" };
  return formatTable([{ ...about, figures, rows: [], rounds: [] }]);
}

describe("a figure", () => {
  it.each<[number, Unit, string]>([
    [1.234, "ms", "1.23 ms"],
    [123.45, "us", "123 us"],
    [12_345, "us", "12.3 ms"],
    [12, "bytes", "12 B"],
    [3 * 1024 ** 2, "bytes", "3.0 MiB"],
    [1_234.5, "rate", "1,235/s"],
    [0.125, "share", "12.5 %"],
    [1_000_000, "count", "1,000,000"],
  ])("shows %d %s as %s", (value, unit, text) => {
    expect(formatFigure(value, unit)).toBe(text);
  });

  it("shows its median, its range and what it was measured on", () => {
    const line = tableOf({ values: [4, 1, 2] });
    expect(line).toMatch(/take-over: p99 +2\.00 ms +- +- +1\.00 ms - 4\.00 ms +- +- +of all/);
  });

  it("meets its goal only when it does so each time", () => {
    expect(tableOf({ values: [1, 2], goal: { atMost: 2 } })).toMatch(/<= 2\.00 ms +yes/);
    expect(tableOf({ values: [1, 3], goal: { atMost: 2 } })).toMatch(/<= 2\.00 ms +NO/);
    expect(tableOf({ values: [3, 1], goal: { atLeast: 2 } })).toMatch(/>= 2\.00 ms +NO/);
  });
});

describe("shares of a CPU profile", () => {
  const node = (id: number, functionName: string, url: string) => ({
    id,
    callFrame: { functionName, url, scriptId: "1", lineNumber: 0, columnNumber: 0 },
  });
  const profile = {
    nodes: [
      node(1, "(idle)", ""),
      node(2, "commit", "file:///srv/dist/runtime/commit.js"),
      node(3, "pack", "file:///srv/node_modules/@scope/package/lib/a.js"),
      node(4, "(garbage collector)", ""),
    ],
    startTime: 0,
    endTime: 100,
    samples: [1, 2, 3, 2, 4],
    timeDeltas: [0, 50, 10, 20, 30, 40],
  };

  it("are of the time that was not idle, by module, the largest first", () => {
    expect(sharesOf(profile)).toEqual([
      { name: "runtime/commit.js", share: 0.4 },
      { name: "(garbage collector)", share: 0.4 },
      { name: "@scope/package", share: 0.2 },
    ]);
  });
});
