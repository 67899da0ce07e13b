/** One node of a simulation, under its supervisor: a process that ended is started again. */
import type { NodeOptions, RunningNode } from "../node.ts";
import { startNode } from "../node.ts";
import type { Step } from "../steps.ts";
import type { FaultyTransport } from "./faulty-transport.ts";
import type { TestProcess } from "./process.ts";

/** What a run of a node is made of. */
export interface NodeRun {
  readonly process: TestProcess;
  readonly transport: FaultyTransport;
  readonly options: Omit<NodeOptions, "transport" | "nodeId" | "onStep" | "onReplaced">;
}

const RESTART_MS = 500;
/** Longer than a drain may take. */
const STOP_WITHIN_MS = 25_000;

export class SimulatedNode {
  readonly id: string;
  readonly #begin: (id: string) => NodeRun;
  readonly #after: (ms: number, fn: () => void) => void;
  #run: NodeRun | undefined;
  #node: RunningNode | undefined;
  #armed: { readonly step: Step; left: number; readonly downMs: number } | undefined;

  constructor(
    id: string,
    parts: {
      /** Makes the process of a new run. */
      readonly begin: (id: string) => NodeRun;
      /** A timer outside of any process. */
      readonly after: (ms: number, fn: () => void) => void;
    },
  ) {
    this.id = id;
    this.#begin = parts.begin;
    this.#after = parts.after;
  }

  /** The node of the present run, once it has started. */
  get node(): RunningNode | undefined {
    return this.#node;
  }

  get run(): NodeRun | undefined {
    return this.#run;
  }

  boot(): void {
    if (this.#run) return;
    const run = this.#begin(this.id);
    this.#run = run;
    startNode({
      ...run.options,
      transport: run.transport,
      nodeId: this.id,
      onStep: (step) => this.#onStep(run, step),
      onReplaced: () => this.kill(RESTART_MS, run),
    }).then(
      (node) => {
        if (this.#run === run) this.#node = node;
      },
      () => this.kill(RESTART_MS, run),
    );
  }

  /** Ends the process at once; another starts after `downMs`. */
  kill(downMs: number, run = this.#run): void {
    if (!run || run !== this.#run) return;
    this.#run = undefined;
    this.#node = undefined;
    this.#armed = undefined;
    run.process.end();
    this.#after(downMs, () => this.boot());
  }

  killAtStep(step: Step, nth: number, downMs: number): void {
    if (this.#run) this.#armed = { step, left: nth, downMs };
  }

  disarm(): void {
    this.#armed = undefined;
  }

  /** Stops as asked to, then starts anew. */
  restart(): void {
    const [run, node] = [this.#run, this.#node];
    if (!run || !node) return;
    const end = () => this.kill(0, run);
    run.process.enter(() => void node.stop().then(end, end));
    this.#after(STOP_WITHIN_MS, end);
  }

  #onStep(run: NodeRun, step: Step): void | Promise<void> {
    const armed = this.#armed;
    if (run !== this.#run || armed?.step !== step) return undefined;
    armed.left -= 1;
    if (armed.left > 0) return undefined;
    this.kill(armed.downMs, run);
    return new Promise(() => {});
  }
}
