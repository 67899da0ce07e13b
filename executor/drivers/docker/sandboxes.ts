/**
 * Makes and unmakes what a worker lives in: a container, its slot of the disk, its network.
 *
 * Invariants:
 * S1 What a `make` that failed had made is gone when it rejects, or found by a sweep.
 * S2 `destroy` may be called in every state and again: it removes what is left.
 */
import { BerthError } from "../../../protocols/errors.ts";
import type { StartStep, WorkerSpec } from "../../../protocols/executor.ts";
import { containerOptions, type WorkerSize } from "./container-spec.ts";
import type { Engine } from "./engine.ts";
import type { EngineOwner, Labels } from "./labels.ts";
import type { NetworkOwner, Networks } from "./networks.ts";
import { type SlotMounts, type Workspaces, workspaceRoot } from "./workspaces.ts";

export interface Sandbox {
  /** Names its slot: a worker's id, or a dormant worker's own. */
  readonly slot: string;
  readonly container: string;
  readonly network: string | undefined;
  /** Address on which it finds its host's door. */
  readonly gateway: string;
  /** Open since its start; undefined for one that was adopted. */
  readonly input: NodeJS.ReadWriteStream | undefined;
}

export interface SandboxPlan {
  readonly slot: string;
  readonly name: string;
  readonly size: WorkerSize;
  /** Undefined: nobody's yet. */
  readonly spec: WorkerSpec | undefined;
  readonly labels: Labels;
  readonly network: { readonly owner: NetworkOwner; readonly labels: Labels };
}

export interface SandboxParts {
  readonly engine: Engine;
  readonly networks: Networks;
  readonly workspaces: Workspaces;
  readonly owner: EngineOwner;
  readonly image: string;
  readonly runtime: string | undefined;
  readonly processors: number;
  /** For all workers: nothing secret. */
  readonly env: Readonly<Record<string, string>>;
}

const HEALTH_PORT = "8080";

export class Sandboxes {
  readonly #parts: SandboxParts;

  constructor(parts: SandboxParts) {
    this.#parts = parts;
  }

  /** Resolves when its process runs and waits for its identity. */
  async make(plan: SandboxPlan, onStep: (step: StartStep) => void = () => {}): Promise<Sandbox> {
    try {
      return await this.#make(plan, onStep);
    } catch (thrown) {
      await this.destroy({ slot: plan.slot, container: plan.name, network: undefined }).catch(
        () => {
          // A sweep finds what is left.
        },
      );
      throw thrown;
    }
  }

  /** The slot is made while the network is, and the workspace put into it while the container starts: it appears there (ADR 12). */
  async #make(plan: SandboxPlan, onStep: (step: StartStep) => void): Promise<Sandbox> {
    const { engine, networks } = this.#parts;
    const { slot, size, network } = plan;
    onStep("creating");
    const disk = this.#openDisk(plan);
    try {
      const settings = { internet: size.internet, labels: network.labels };
      return await networks.use(network.owner, settings, async ({ name, gateway }) => {
        const mounts = await disk.mounts;
        const container = await engine.create(
          containerOptions({ ...this.#common(plan), mounts, network: name }),
        );
        // Before the start, so that not even a process that ends at once is missed.
        const input = await engine.attach(container, { output: false });
        input.on("error", () => {});
        onStep("starting");
        await engine.start(container);
        await disk.isBound;
        return { slot, container, network: name, gateway, input };
      });
    } finally {
      // What is being mounted can neither be used nor be taken away (S1).
      await disk.isBound.catch(() => {});
    }
  }

  #openDisk({ slot, size, spec }: SandboxPlan): {
    readonly mounts: Promise<SlotMounts>;
    readonly isBound: Promise<void>;
  } {
    const { workspaces } = this.#parts;
    const kind = { mode: size.workspace, storageBytes: size.storage_bytes };
    const mounts = workspaces.openSlot(slot, spec === undefined ? kind : { ...kind, spec });
    const bind = async () => {
      await mounts;
      if (spec !== undefined) await workspaces.bind(slot, spec);
      // Scratch is nobody's: whoever takes a dormant worker later finds it there.
      else if (size.workspace === "job") await workspaces.bind(slot, scratchSpec(slot, size));
    };
    const isBound = bind();
    isBound.catch(() => {}); // It is awaited later.
    return { mounts, isBound };
  }

  #common({ name, labels, size }: SandboxPlan) {
    const { image, runtime, env, processors } = this.#parts;
    const own = {
      BERTH_IDENTITY: "stdin",
      BERTH_ISOLATED: "1",
      BERTH_HEALTH_PORT: HEALTH_PORT,
      BERTH_WORKSPACE: workspaceRoot(size.workspace),
    };
    return { name, labels, size, image, runtime, processors, env: { ...env, ...own } };
  }

  /** Hands one line to the process, which waits for it. */
  async tell({ container, input }: Sandbox, line: string): Promise<void> {
    const stream = input ?? (await this.#parts.engine.attach(container, { output: false }));
    stream.on("error", () => {});
    await new Promise<void>((resolve, reject) => {
      const closed = () =>
        reject(new BerthError("driver.failed", "the container is not listening"));
      stream.once("close", closed);
      stream.end(line, () => {
        stream.off("close", closed);
        resolve();
      });
    });
    // What comes back is nothing but the end.
    stream.resume();
  }

  /** S2. The container by its id or name. */
  async destroy(sandbox: Pick<Sandbox, "slot" | "container" | "network">): Promise<void> {
    const { engine, networks, workspaces } = this.#parts;
    await engine.remove(sandbox.container);
    await workspaces.closeSlot(sandbox.slot);
    if (sandbox.network !== undefined) await networks.release(sandbox.network);
  }
}

function scratchSpec(slot: string, size: WorkerSize): WorkerSpec {
  return { ...size, worker: slot, tenant: "berth", slots: 1, workspace_key: slot };
}
