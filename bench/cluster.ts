/** Nodes in processes of their own that one broker joins. */
import { type Child, startChild } from "./child.ts";
import type { Bench } from "./scenario.ts";

export interface NodeState {
  readonly ready: boolean;
  readonly partitions: readonly number[];
  readonly activations: number;
}

export interface NodeMemory {
  /** Bytes, after a full collection. */
  readonly heap: number;
  readonly resident: number;
}

export interface BenchNode {
  readonly id: string;
  state(): Promise<NodeState>;
  memory(): Promise<NodeMemory>;
  /** SIGKILL; resolves when the signal is sent. */
  kill(): void;
  /** Leaves in order. */
  stop(): Promise<void>;
}

const SETTLE_MS = 60_000;
const LOOK_MS = 50;

/** Resolves when the node is up; it may not have its partitions yet. */
export async function startBenchNode(
  bench: Bench,
  natsUrl: string,
  id: string,
  settings: { readonly restMs?: number } = {},
): Promise<BenchNode> {
  const child: Child = await startChild(bench, "actor-node", { ...settings, natsUrl, nodeId: id });
  return {
    id,
    state: async () => (await child.ask("state")) as NodeState,
    memory: async () => (await child.ask("memory")) as NodeMemory,
    kill: () => child.kill(),
    stop: () => child.stop(),
  };
}

/** Resolves when every node has what is its own. */
export async function settled(bench: Bench, nodes: readonly BenchNode[]): Promise<void> {
  await until(bench, SETTLE_MS, "the nodes share the partitions", async () => {
    const states = await Promise.all(nodes.map((node) => node.state()));
    return states.every(({ ready }) => ready);
  });
}

/** Looks until `holds`; throws when it does not in time, or when the run is interrupted. */
export async function until(
  { signal }: Pick<Bench, "signal">,
  withinMs: number,
  what: string,
  holds: () => Promise<boolean>,
): Promise<void> {
  const startedAt = performance.now();
  while (!(await holds())) {
    signal.throwIfAborted();
    if (performance.now() - startedAt > withinMs) throw new Error(`not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}
