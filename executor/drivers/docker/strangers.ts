/**
 * What nodes of our deployment that will not come back have left in this engine: a node whose data was thrown away starts
 * under another name, and nobody would look for its things.
 *
 * Invariants:
 * R1 A node's things are left alone while it lives, and for a grace after it was last known to: its workers may run. One
 *    that is on record after that, too, has answered its supervisor and runs a job.
 * R2 Workspaces stay. They are users' data, and this node cannot know who waits for them.
 */
import type { Clock } from "../../../runtime/clock.ts";
import type { Engine, ListedContainer } from "./engine.ts";
import { containerName, type EngineOwner, LABELS } from "./labels.ts";

export interface StrangersParts {
  readonly engine: Engine;
  readonly owner: EngineOwner;
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

  /** Resolves with the names of what went. `onRecord`: workers of all hosts. */
  async sweep(onRecord: ReadonlySet<string>): Promise<string[]> {
    const { engine, owner } = this.#parts;
    const filters = { label: [`${LABELS.deployment}=${owner.deployment}`] };
    const containers = (await engine.list(filters)).filter((one) => nodeOf(one) !== owner.node);
    const networks = await engine.networks(filters);
    const left = [...containers, ...networks].map(nodeOf);
    const gone = this.#longGone(left.filter((node) => node !== owner.node));
    const removed: string[] = [];
    for (const container of containers.filter((one) => gone.has(nodeOf(one)))) {
      if (onRecord.has(workerOf(container, owner))) continue;
      await engine.remove(container.id);
      removed.push(`container ${container.name} of ${nodeOf(container)}`);
    }
    for (const network of networks.filter((one) => gone.has(nodeOf(one)))) {
      if (!(await engine.removeNetwork(network.name))) continue;
      removed.push(`network ${network.name} of ${nodeOf(network)}`);
    }
    return removed;
  }

  #longGone(nodes: readonly string[]): ReadonlySet<string> {
    const { clock, graceMs, liveNodes } = this.#parts;
    const now = clock.monotonic();
    const dead = new Set(nodes.filter((node) => !liveNodes().includes(node)));
    for (const node of this.#goneSince.keys()) if (!dead.has(node)) this.#goneSince.delete(node);
    for (const node of dead) {
      if (!this.#goneSince.has(node)) this.#goneSince.set(node, now);
    }
    const isLong = (node: string) => now - (this.#goneSince.get(node) ?? now) >= graceMs;
    return new Set([...dead].filter(isLong));
  }
}

/** One that was dormant before it was claimed has the worker in its name alone. */
function workerOf({ labels, name }: ListedContainer, { deployment }: EngineOwner): string {
  return labels[LABELS.incarnation] ?? name.slice(containerName(deployment, "").length);
}

const nodeOf = ({ labels }: Pick<ListedContainer, "labels">) => labels[LABELS.node] ?? "";
