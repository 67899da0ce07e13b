/**
 * Which faults happen when: pure, from a seed.
 *
 * Invariants:
 * S1 Server faults do not overlap, and after each the cluster has time to catch up: the quorum is never lost.
 * S2 Node faults do not overlap one another: of three nodes two work at any time.
 * S3 A node is killed in a quiet moment, with no server fault from before until its partitions have new owners (also when
 *    faults take longer than planned: `faults.ts`), so
 *    that what is measured is the take-over and not an election of the broker's.
 */
import type { Cut } from "../support/tcp-proxy.ts";
import { type Random, seededRandom } from "./random.ts";

export const NODE_FAULTS = ["kill-node", "pause-node", "restart-node", "cut-node"] as const;
export const SERVER_FAULTS = ["kill-server", "pause-server", "isolate-server"] as const;
export const FAULTS = [...NODE_FAULTS, ...SERVER_FAULTS] as const;
export type FaultKind = (typeof FAULTS)[number];

export interface Fault {
  readonly kind: FaultKind;
  /** From the start of the load. */
  readonly atMs: number;
  /** How long it is kept up; a graceful restart takes as long as it takes. */
  readonly forMs: number;
  /** Of the three nodes or servers. */
  readonly target: 0 | 1 | 2;
  /** Of cuts: how the network breaks. */
  readonly how: Cut;
}

/** Kept up for so long (ms, from and to). Pauses of nodes outlast the lease (8 s). */
const LENGTHS: Readonly<Record<FaultKind, readonly [number, number]>> = {
  "kill-node": [500, 4_000],
  "pause-node": [9_000, 12_000],
  "restart-node": [0, 0],
  "cut-node": [3_000, 9_000],
  "kill-server": [500, 5_000],
  "pause-server": [3_000, 8_000],
  "isolate-server": [4_000, 9_000],
};
const FIRST_AT_MS = 3_000;
/** A node's process starts again and takes its share. */
export const NODE_REST_MS = 6_000;
/** A server comes back, elects and catches up. */
export const SERVER_REST_MS = 10_000;
/** S3. */
export const QUIET_MS = 6_000;
/** The last fault ends before the load does. */
const LAST_MS = 4_000;

const isServerFault = (kind: FaultKind) => (SERVER_FAULTS as readonly string[]).includes(kind);

export function decideSchedule(options: {
  readonly seed: number;
  readonly forMs: number;
  /** Kinds to choose from; default all. */
  readonly only?: readonly FaultKind[];
}): Fault[] {
  const random = seededRandom(options.seed);
  const kinds = options.only ?? FAULTS;
  const free = { node: FIRST_AT_MS, server: FIRST_AT_MS };
  const faults: Fault[] = [];
  // Each kind comes once before any comes again.
  for (let bag: FaultKind[] = []; ; ) {
    if (bag.length === 0) bag = random.shuffle(kinds);
    const kind = bag.shift() as FaultKind;
    const fault = decideFault(kind, free, random);
    if (fault.atMs + fault.forMs > options.forMs - LAST_MS) break;
    faults.push(fault);
    const end = fault.atMs + fault.forMs;
    if (isServerFault(kind))
      free.server = end + SERVER_REST_MS; // S1
    else free.node = end + NODE_REST_MS; // S2
    if (kind === "kill-node") free.server = Math.max(free.server, fault.atMs + QUIET_MS); // S3
  }
  return faults.toSorted((a, b) => a.atMs - b.atMs);
}

function decideFault(
  kind: FaultKind,
  free: { readonly node: number; readonly server: number },
  random: Random,
): Fault {
  const lane = isServerFault(kind) ? free.server : free.node;
  const from = kind === "kill-node" ? Math.max(free.node, free.server) : lane; // S3
  const [shortest, longest] = LENGTHS[kind];
  return {
    kind,
    atMs: from + random.int(0, 2_000),
    forMs: random.int(shortest, longest),
    target: random.pick([0, 1, 2] as const),
    how: random.pick(["silent", "reset"] as const),
  };
}
