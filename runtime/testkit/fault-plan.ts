/** The faults of one schedule, made from its seed before anything runs: data, so that a failing one can be cut down. */
import type { Step } from "../steps.ts";
import type { Random } from "./random.ts";

/** Times in milliseconds from the start. A fault of a node that does not run does nothing. */
export type Fault = { readonly at: number } & (
  | { readonly type: "kill"; readonly node: string; readonly downMs: number }
  /** Ends the node when a turn comes to `step` for the `nth` time from then on. */
  | {
      readonly type: "kill-at-step";
      readonly node: string;
      readonly step: Step;
      readonly nth: number;
      readonly downMs: number;
    }
  | { readonly type: "pause"; readonly node: string; readonly forMs: number }
  | {
      readonly type: "cut";
      readonly node: string;
      readonly directions: readonly ("out" | "in")[];
      readonly forMs: number;
    }
  | { readonly type: "reset"; readonly node: string }
  /** Drains, leaves and starts again, as in a rolling restart. */
  | { readonly type: "restart"; readonly node: string }
  | { readonly type: "join"; readonly node: string }
  /** Every connection breaks. */
  | { readonly type: "broker-restart" }
  /** Messages are lost, refused and doubled for a while. */
  | { readonly type: "weather"; readonly probability: number; readonly forMs: number }
);

export interface PlanOptions {
  readonly nodes: readonly string[];
  readonly durationMs: number;
  readonly leaseTtlMs: number;
}

/** One schedule in so many has no faults: what goes wrong there is wrong by itself. */
const CALM_ONE_IN = 12;
const MOST_FAULTS = 7;
const STEPS: readonly Step[] = ["handled", "committed", "published"];
const WAYS: readonly (readonly ("out" | "in")[])[] = [["out", "in"], ["out"], ["in"]];

export function planFaults(random: Random, options: PlanOptions): Fault[] {
  if (random.int(1, CALM_ONE_IN) === 1) return [];
  const count = random.int(1, MOST_FAULTS);
  const faults = Array.from({ length: count }, () => planFault(random, options));
  return faults.toSorted((a, b) => a.at - b.at);
}

function planFault(random: Random, { nodes, durationMs, leaseTtlMs }: PlanOptions): Fault {
  const at = Math.round(random.between(0, durationMs * 0.9));
  const node = random.pick(nodes);
  /** Around the lease, for that is where the interesting things happen. */
  const aWhile = () => Math.round(random.between(0.1, 3) * leaseTtlMs);
  const kinds: (() => Fault)[] = [
    () => ({ at, type: "kill", node, downMs: aWhile() }),
    () => ({
      at,
      type: "kill-at-step",
      node,
      step: random.pick(STEPS),
      nth: random.int(1, 3),
      downMs: aWhile(),
    }),
    () => ({ at, type: "pause", node, forMs: aWhile() }),
    () => ({ at, type: "pause", node, forMs: aWhile() }),
    () => ({ at, type: "cut", node, directions: random.pick(WAYS), forMs: aWhile() }),
    () => ({ at, type: "cut", node, directions: random.pick(WAYS), forMs: 6 * aWhile() }),
    () => ({ at, type: "reset", node }),
    () => ({ at, type: "restart", node }),
    () => ({ at, type: "join", node: `n${nodes.length + 1}` }),
    () => ({ at, type: "broker-restart" }),
    () => ({ at, type: "weather", probability: random.between(0.02, 0.3), forMs: aWhile() }),
  ];
  return random.pick(kinds)();
}

/** A fault on one line. */
export function describeFault({ at, type, ...rest }: Fault): string {
  const details = Object.entries(rest).map(([name, value]) => `${name} ${String(value)}`);
  return [`${(at / 1_000).toFixed(3)} s`, type, ...details].join(" ");
}
