/** Pods, and what makes them, that nodes of our deployment have left which will not come back (R1 of `gone-nodes.ts`). */
import { GoneNodes, type GoneNodesParts } from "../gone-nodes.ts";
import type { Pod } from "./pod.ts";

export interface StrangersParts extends GoneNodesParts {
  readonly node: string;
}

export class Strangers {
  readonly #node: string;
  readonly #goneNodes: GoneNodes;

  constructor(parts: StrangersParts) {
    this.#node = parts.node;
    this.#goneNodes = new GoneNodes(parts);
  }

  /** Those of `things` that nobody will ask for. `onRecord`: workers of all hosts. */
  among<T extends Pick<Pod, "node" | "spec">>(
    things: readonly T[],
    onRecord: ReadonlySet<string>,
  ): T[] {
    const others = things.filter(({ node }) => node !== this.#node);
    const gone = this.#goneNodes.among(others.map(({ node }) => node));
    return others.filter(({ node, spec }) => gone.has(node) && !onRecord.has(spec?.worker ?? ""));
  }
}
