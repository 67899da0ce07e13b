/**
 * What a benchmark consists of: a scenario opens servers and offers comparisons and trials. A comparison measures two
 * sides, a trial runs once and finds figures.
 */
import type { Figure } from "./figure.ts";
import type { BenchOptions } from "./options.ts";

/** What one measurement of one side gave. */
export interface Sample {
  readonly count: number;
  readonly elapsedMs: number;
  readonly latenciesMs: readonly number[];
}

export interface Stretch {
  readonly ms: number;
  readonly signal: AbortSignal;
}

export type Measure = (stretch: Stretch) => Promise<Sample>;

export type Metric = "rate" | "p50" | "p99";

/** Ours in terms of the peer's: its multiple, or milliseconds on top of it. */
export type Goal =
  | { readonly atLeast: number }
  | { readonly atMost: number }
  | { readonly atMostAddedMs: number };

export interface RowSpec {
  readonly label: string;
  readonly metric: Metric;
  /** Absent: shown for information. */
  readonly goal?: Goal;
}

export interface Comparison {
  readonly name: string;
  readonly ours: Measure;
  /** Absent when it is not installed; `peerName` then says what is missing. */
  readonly peer: Measure | undefined;
  readonly peerName: string;
  readonly rows: readonly RowSpec[];
}

export interface Trial {
  readonly name: string;
  run(): Promise<readonly Figure[]>;
}

export interface Bench {
  readonly options: BenchOptions;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
  /** Named in the report, such as `redis 7.0.15`. */
  readonly uses: (program: string) => void;
  /** Runs at the end of the scenario, the last first, also when a later part failed to start. */
  readonly undo: (step: () => Promise<unknown>) => void;
}

export interface Scenario {
  readonly name: string;
  readonly question: string;
  open(bench: Bench): Promise<readonly (Comparison | Trial)[]>;
}
