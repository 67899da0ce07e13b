/** The table that people read, and the JSON with every sample. */
import { mkdir, writeFile } from "node:fs/promises";
import { arch, cpus, loadavg, platform, release, totalmem } from "node:os";
import { dirname } from "node:path";
import type { Round, Row } from "./contest.ts";
import { type Figure, formatFigure, type Unit } from "./figure.ts";
import type { Goal, Metric, Sample } from "./scenario.ts";
import { median } from "./statistics.ts";

export interface Result {
  readonly scenario: string;
  readonly question: string;
  /** Of the comparison or the trial: one of them has rows and rounds, the other figures. */
  readonly name: string;
  readonly rows: readonly Row[];
  readonly rounds: readonly Round[];
  readonly figures: readonly Figure[];
}

const HEAD = [
  "",
  "ours",
  "peer",
  "ratio",
  "min-max",
  "goal",
  "met",
  "peer, or what it is",
] as const;
const FIRST_NUMBER = 1;
const LAST_NUMBER = 4;
const GIB = 1024 ** 3;
const US_PER_MS = 1_000;

/** What it ran on: numbers of different machines do not compare, ratios do so roughly. */
export function machineLine(programs: Iterable<string>): string {
  const all = cpus();
  const parts = [
    `${all.length} x ${all[0]?.model.trim() ?? "unknown CPU"}`,
    `${(totalmem() / GIB).toFixed(0)} GiB`,
    `${platform()} ${release()} ${arch()}`,
    `node ${process.versions.node}`,
    ...programs,
    `load ${loadavg()[0]?.toFixed(1) ?? "?"}`,
  ];
  return parts.join(", ");
}

export function formatTable(results: readonly Result[]): string {
  const lines = results.flatMap(({ figures, name, rows }) => [
    ...rows.map((row) => [`${name}: ${row.label}`, ...cellsOf(row)]),
    ...figures.map((figure) => [`${name}: ${figure.label}`, ...figureCells(figure)]),
  ]);
  const table = [[...HEAD], ...lines];
  const widths = HEAD.map((_, at) => Math.max(...table.map((cells) => cells[at]?.length ?? 0)));
  return table.map((cells) => formatLine(cells, widths)).join("\n");
}

/** Numbers stand at the right of their column, words at the left. */
function formatLine(cells: readonly string[], widths: readonly number[]): string {
  const padded = cells.map((cell, at) => {
    const width = widths[at] ?? 0;
    return FIRST_NUMBER <= at && at <= LAST_NUMBER ? cell.padStart(width) : cell.padEnd(width);
  });
  return padded.join("  ").trimEnd();
}

function cellsOf(row: Row): string[] {
  const { goal, met, metric, ours, peer, ratios } = row;
  const hasPeer = peer.length > 0;
  return [
    formatValue(median(ours), metric),
    hasPeer ? formatValue(median(peer), metric) : "-",
    hasPeer ? median(ratios).toFixed(2) : "-",
    hasPeer ? `${Math.min(...ratios).toFixed(2)}-${Math.max(...ratios).toFixed(2)}` : "-",
    goal ? formatGoal(goal) : "-",
    met === undefined ? "-" : met ? "yes" : "NO",
    row.peerName,
  ];
}

function figureCells({ goal, note, unit, values }: Figure): string[] {
  const range = [Math.min(...values), Math.max(...values)].map((value) =>
    formatFigure(value, unit),
  );
  return [
    formatFigure(median(values), unit),
    "-",
    "-",
    values.length > 1 ? range.join(" - ") : "-",
    goal === undefined ? "-" : formatBound(goal, unit),
    goal === undefined ? "-" : values.every((value) => holds(goal, value)) ? "yes" : "NO",
    note,
  ];
}

/** A goal without a peer is met when it is met each time. */
function holds(goal: NonNullable<Figure["goal"]>, value: number): boolean {
  return "atMost" in goal ? value <= goal.atMost : value >= goal.atLeast;
}

function formatBound(goal: NonNullable<Figure["goal"]>, unit: Unit): string {
  if ("atMost" in goal) return `<= ${formatFigure(goal.atMost, unit)}`;
  return `>= ${formatFigure(goal.atLeast, unit)}`;
}

function formatValue(value: number, metric: Metric): string {
  if (metric === "rate") return `${Math.round(value).toLocaleString("en-US")}/s`;
  return `${value < 10 ? value.toFixed(2) : value.toFixed(1)} ms`;
}

function formatGoal(goal: Goal): string {
  if ("atLeast" in goal) return `>= ${goal.atLeast}`;
  return "atMost" in goal ? `<= ${goal.atMost}` : `<= +${goal.atMostAddedMs} ms`;
}

/** Latencies as whole microseconds, in the order in which the calls ended. */
export async function writeResults(
  path: string,
  about: object,
  results: readonly Result[],
): Promise<void> {
  const body = {
    ...about,
    results: results.map((result) => ({
      ...result,
      rounds: result.rounds.map(({ ours, peer }) => ({
        ours: rawSample(ours),
        peer: peer ? rawSample(peer) : null,
      })),
    })),
  };
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, `${JSON.stringify(body)}\n`);
}

function rawSample({ count, elapsedMs, latenciesMs }: Sample) {
  return {
    count,
    elapsed_ms: elapsedMs,
    latencies_us: latenciesMs.map((ms) => Math.round(ms * US_PER_MS)),
  };
}
