/**
 * Measures both sides of a comparison in turns, so that what disturbs the machine disturbs both: each round
 * measures one side and then the other, and the next round begins with the other.
 */
import type { Bench, Comparison, Goal, Measure, Metric, Sample } from "./scenario.ts";
import { median, percentile } from "./statistics.ts";

export interface Round {
  readonly ours: Sample;
  readonly peer: Sample | undefined;
}

export interface Row {
  readonly label: string;
  readonly metric: Metric;
  readonly peerName: string;
  readonly ours: readonly number[];
  readonly peer: readonly number[];
  /** Ours divided by the peer's, per round. */
  readonly ratios: readonly number[];
  readonly goal: Goal | undefined;
  /** Undefined when there is no goal or no peer. */
  readonly met: boolean | undefined;
}

export async function contest(bench: Bench, comparison: Comparison): Promise<Round[]> {
  const { options, signal, say } = bench;
  const { ours, peer } = comparison;
  const run = (measure: Measure, ms: number) => measure({ ms, signal });
  await run(ours, options.warmUpMs);
  if (peer) await run(peer, options.warmUpMs);
  const rounds: Round[] = [];
  for (let round = 0; round < options.rounds; round += 1) {
    signal.throwIfAborted();
    say(`${comparison.name}: round ${round + 1} of ${options.rounds}`);
    const first = round % 2 === 0 ? await run(ours, options.stretchMs) : undefined;
    const other = peer && (await run(peer, options.stretchMs));
    rounds.push({ ours: first ?? (await run(ours, options.stretchMs)), peer: other });
  }
  return rounds;
}

export function rowsOf(comparison: Comparison, rounds: readonly Round[]): Row[] {
  return comparison.rows.map(({ label, metric, goal }) => {
    const ours = rounds.map((round) => metricOf(round.ours, metric));
    const peer = rounds.flatMap((round) => (round.peer ? [metricOf(round.peer, metric)] : []));
    const ratios = peer.map((value, round) => (ours[round] ?? Number.NaN) / value);
    return {
      label,
      metric,
      peerName: comparison.peerName,
      ours,
      peer,
      ratios,
      goal,
      met: goal && peer.length > 0 ? isMet(goal, ours, peer) : undefined,
    };
  });
}

export function metricOf(sample: Sample, metric: Metric): number {
  switch (metric) {
    case "rate":
      return (sample.count * 1_000) / sample.elapsedMs;
    case "p50":
      return percentile(sample.latenciesMs, 0.5);
    case "p99":
      return percentile(sample.latenciesMs, 0.99);
  }
}

/** Judged by the median over the rounds: of the ratios, or of the differences. */
export function isMet(goal: Goal, ours: readonly number[], peer: readonly number[]): boolean {
  const compared = (by: (our: number, their: number) => number) =>
    median(peer.map((their, round) => by(ours[round] ?? Number.NaN, their)));
  if ("atMostAddedMs" in goal) return compared((a, b) => a - b) <= goal.atMostAddedMs;
  const ratio = compared((a, b) => a / b);
  return "atLeast" in goal ? ratio >= goal.atLeast : ratio <= goal.atMost;
}
