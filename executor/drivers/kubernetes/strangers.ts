/**
 * Pods that nodes of our deployment have left which will not come back.
 *
 * Invariant:
 * R1 A node's pods are left alone while it lives, and for a grace after it was last known to: its workers may run. One
 *    that is on record after that, too, has answered its supervisor and runs a job.
 */
import type { Clock } from "../../../runtime/clock.ts";
import type { Pod } from "./pod.ts";

export interface StrangersParts {
  readonly node: string;
  /** Nodes with a lease. */
  readonly liveNodes: () => readonly string[];
  /** R1. */
  readonly graceMs: number;
  readonly clock: Clock;
}

export class Strangers {
  readonly #parts: StrangersParts;
  /** Nodes without a lease, and since when we know of them. */
  readonly #goneSince = new Map<string, number>();

  constructor(parts: StrangersParts) {
    this.#parts = parts;
  }

  /** Those of `pods` that nobody will ask for. `onRecord`: workers of all hosts. */
  among(pods: readonly Pod[], onRecord: ReadonlySet<string>): Pod[] {
    const others = pods.filter(({ node }) => node !== this.#parts.node);
    const gone = this.#longGone(others.map(({ node }) => node));
    return others.filter(({ node, spec }) => gone.has(node) && !onRecord.has(spec?.worker ?? ""));
  }

  #longGone(nodes: readonly string[]): ReadonlySet<string> {
    const { clock, graceMs, liveNodes } = this.#parts;
    const now = clock.monotonic();
    const dead = new Set(nodes.filter((node) => !liveNodes().includes(node)));
    for (const node of this.#goneSince.keys()) if (!dead.has(node)) this.#goneSince.delete(node);
    for (const node of dead) if (!this.#goneSince.has(node)) this.#goneSince.set(node, now);
    return new Set([...dead].filter((node) => now - (this.#goneSince.get(node) ?? now) >= graceMs));
  }
}
