/** What `npm run bench -- ...` takes. */
import { parseArgs } from "node:util";

export interface BenchOptions {
  /** Scenarios to run; empty: all. */
  readonly only: readonly string[];
  /** Everything is to run and nothing to be measured: whatever takes time is made small. */
  readonly isQuick: boolean;
  readonly rounds: number;
  /** Length of one measurement. */
  readonly stretchMs: number;
  readonly warmUpMs: number;
  /** Where the JSON goes; default: `.berth/bench/<time>.json`. */
  readonly out: string | undefined;
  /** A folder for CPU profiles of the processes that serve. */
  readonly profile: string | undefined;
}

export const USAGE = `npm run bench -- [options]
  --only NAME      run one scenario (may be repeated)
  --rounds N       rounds of each comparison (5); each side is measured once a round
  --seconds N      length of one measurement (3)
  --quick          one round of 0.2 s: shows that everything runs, measures nothing
  --out FILE       where the raw samples go (.berth/bench/<time>.json)
  --profile DIR    write CPU profiles of the serving processes there`;

const QUICK_MS = 200;
const SECOND = 1_000;

/** Throws an error with one sentence. */
export function parseOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: "string", multiple: true, default: [] },
      rounds: { type: "string" },
      seconds: { type: "string" },
      quick: { type: "boolean", default: false },
      out: { type: "string" },
      profile: { type: "string" },
    },
  });
  const rounds = readNumber("rounds", values.rounds, values.quick ? 1 : 5);
  const seconds = readNumber("seconds", values.seconds, values.quick ? QUICK_MS / SECOND : 3);
  if (!Number.isInteger(rounds)) throw new Error("--rounds takes a whole number");
  return {
    only: values.only,
    isQuick: values.quick,
    rounds,
    stretchMs: seconds * SECOND,
    warmUpMs: values.quick ? QUICK_MS / 2 : Math.max(SECOND, (seconds * SECOND) / 2),
    out: values.out,
    profile: values.profile,
  };
}

function readNumber(name: string, text: string | undefined, fallback: number): number {
  const value = text === undefined ? fallback : Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new Error(`--${name} takes a number above 0`);
}
