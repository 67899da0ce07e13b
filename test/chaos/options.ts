/** What `npm run chaos -- ...` takes. */
import { parseArgs } from "node:util";
import { PLANTS, type Plant } from "./plants.ts";
import { FAULTS, type FaultKind } from "./schedule.ts";

export interface ChaosOptions {
  readonly seed: number;
  readonly forMs: number;
  readonly clients: number;
  readonly only: readonly FaultKind[];
  readonly plant: Plant | undefined;
  /** Where the JSON report goes; default `.berth/chaos/<time>-seed-<seed>.json`. */
  readonly out: string | undefined;
}

export const USAGE = `npm run chaos -- [options]
  --minutes N      length of the load (5)
  --seed N         of the schedule of faults and of the load (the time of day)
  --clients N      client processes (2)
  --only KIND      inject this fault alone (may be repeated): ${FAULTS.join(", ")}
  --plant BUG      run the nodes with a bug that the judges must find: ${PLANTS.join(", ")}
  --out FILE       where the report goes (.berth/chaos/)`;

const MINUTE_MS = 60_000;
const MAX_SEED = 2 ** 32;

/** Throws an error with one sentence. */
export function parseOptions(args: readonly string[], now: number): ChaosOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      minutes: { type: "string" },
      seed: { type: "string" },
      clients: { type: "string" },
      only: { type: "string", multiple: true, default: [] },
      plant: { type: "string" },
      out: { type: "string" },
    },
  });
  const seed = number("seed", values.seed, Math.floor(now / 1_000) % MAX_SEED);
  const clients = number("clients", values.clients, 2);
  if (!Number.isInteger(seed) || !Number.isInteger(clients))
    throw new Error("--seed and --clients take whole numbers");
  const only = values.only.map((kind) => oneOf("only", kind, FAULTS));
  return {
    seed,
    clients,
    forMs: number("minutes", values.minutes, 5) * MINUTE_MS,
    only: only.length > 0 ? only : FAULTS,
    plant: values.plant === undefined ? undefined : oneOf("plant", values.plant, PLANTS),
    out: values.out,
  };
}

function number(name: string, text: string | undefined, fallback: number): number {
  const value = text === undefined ? fallback : Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new Error(`--${name} takes a number above 0`);
}

function oneOf<T extends string>(name: string, text: string, known: readonly T[]): T {
  const found = known.find((each) => each === text);
  if (found === undefined) throw new Error(`--${name} takes one of ${known.join(", ")}`);
  return found;
}
