/**
 * Which nodes of a deployment will not come back: one whose data was thrown away starts under another name, and nobody would look
 * for its things.
 *
 * Invariant:
 * R1 A node's things are left alone while it lives, and for a grace after it was last known to: its workers may run. One
 *    that is on record after that, too, has answered its supervisor and runs a job.
 */
import type { Clock } from "../../runtime/clock.ts";

export interface GoneNodesParts {
  /** Nodes with a lease. */
  readonly liveNodes: () => readonly string[];
  /** R1. */
  readonly graceMs: number;
  readonly clock: Clock;
}

export class GoneNodes {
  readonly #parts: GoneNodesParts;
  /** Nodes without a lease, and since when we know of them. */
  readonly #since = new Map<string, number>();

  constructor(parts: GoneNodesParts) {
    this.#parts = parts;
  }

  /** Those of `nodes` that have been away for the grace. Asked with all that have left something, each time. */
  among(nodes: readonly string[]): ReadonlySet<string> {
    const { clock, graceMs, liveNodes } = this.#parts;
    const now = clock.monotonic();
    const live = new Set(liveNodes());
    const dead = new Set(nodes.filter((node) => !live.has(node)));
    for (const node of this.#since.keys()) if (!dead.has(node)) this.#since.delete(node);
    for (const node of dead) if (!this.#since.has(node)) this.#since.set(node, now);
    return new Set([...dead].filter((node) => now - (this.#since.get(node) ?? now) >= graceMs));
  }
}
