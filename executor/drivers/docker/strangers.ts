/**
 * What nodes of our deployment that will not come back have left in this engine.
 *
 * Invariants:
 * R1 is kept in `gone-nodes.ts`.
 * R2 Workspaces stay. They are users' data, and this node cannot know who waits for them.
 */
import type { Wanted } from "../driver.ts";
import { GoneNodes, type GoneNodesParts } from "../gone-nodes.ts";
import type { Engine, ListedContainer } from "./engine.ts";
import { containerName, type EngineOwner, LABELS } from "./labels.ts";

export interface StrangersParts extends GoneNodesParts {
  readonly engine: Engine;
  readonly owner: EngineOwner;
}

export class Strangers {
  readonly #parts: StrangersParts;
  readonly #goneNodes: GoneNodes;

  constructor(parts: StrangersParts) {
    this.#parts = parts;
    this.#goneNodes = new GoneNodes(parts);
  }

  /** Resolves with the names of what went. */
  async sweep({ leave, workers }: Pick<Wanted, "leave" | "workers">): Promise<string[]> {
    const { engine, owner } = this.#parts;
    const filters = { label: [`${LABELS.deployment}=${owner.deployment}`] };
    const containers = (await engine.list(filters)).filter((one) => nodeOf(one) !== owner.node);
    const networks = await engine.networks(filters);
    const left = [...containers, ...networks].map(nodeOf);
    const gone = this.#goneNodes.among(left.filter((node) => node !== owner.node));
    const removed: string[] = [];
    for (const container of containers.filter((one) => gone.has(nodeOf(one)))) {
      if (workers.has(workerOf(container, owner))) continue;
      const name = `container ${container.name} of ${nodeOf(container)}`;
      try {
        await engine.remove(container.id);
        removed.push(name);
      } catch (thrown) {
        leave(name, thrown);
      }
    }
    for (const network of networks.filter((one) => gone.has(nodeOf(one)))) {
      if (!(await engine.removeNetwork(network.name))) continue;
      removed.push(`network ${network.name} of ${nodeOf(network)}`);
    }
    return removed;
  }
}

/** One that was dormant before it was claimed has the worker in its name alone. */
function workerOf({ labels, name }: ListedContainer, { deployment }: EngineOwner): string {
  return labels[LABELS.incarnation] ?? name.slice(containerName(deployment, "").length);
}

const nodeOf = ({ labels }: Pick<ListedContainer, "labels">) => labels[LABELS.node] ?? "";
