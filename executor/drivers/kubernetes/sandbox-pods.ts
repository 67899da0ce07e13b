/**
 * Workers' pods, each made by the controller of agent-sandbox for a Sandbox of its own.
 *
 * Invariants:
 * X1 A Sandbox is of one incarnation, and is named as its pod. Its controller makes another pod when that one is gone; so
 *    whoever sees an incarnation end removes its Sandbox before its pod (`endings.ts`), and a pod that was made for it all
 *    the same finds no identity, which was for the first one alone (`pod-manifest.ts`).
 * X2 A Sandbox has a time to end by, which each sweep of its node puts off: what nobody sweeps any more the cluster removes.
 */
import { BerthError } from "../../../protocols/errors.ts";
import type { Clock } from "../../../runtime/clock.ts";
import { decideMade } from "./decide-made.ts";
import { type ClusterOwner, partLabels, selectorOf } from "./labels.ts";
import type { Pod, SandboxRef } from "./pod.ts";
import type { PodInformer } from "./pod-informer.ts";
import type { PodMaker } from "./pod-maker.ts";
import { type PodPlan, podManifest } from "./pod-manifest.ts";
import { SANDBOX_TYPE, type Sandbox, type Sandboxes, type SandboxManifest } from "./sandboxes.ts";

export interface SandboxPodsParts {
  readonly sandboxes: Sandboxes;
  readonly informer: Pick<PodInformer, "until">;
  readonly owner: ClusterOwner;
  /** X2. Longer than a worker lives without a node. */
  readonly lastsMs: number;
  readonly clock: Clock;
}

const LOOK_EVERY_MS = 500;

export class SandboxPods implements PodMaker {
  readonly #parts: SandboxPodsParts;

  constructor(parts: SandboxPodsParts) {
    this.#parts = parts;
  }

  async make(plan: PodPlan): Promise<Pod> {
    const { sandboxes } = this.#parts;
    const manifest = sandboxManifest(plan, this.#shutdownTime());
    const made = (await sandboxes.create(manifest)) ?? (await this.#found(plan, manifest));
    try {
      return await this.#pod(made);
    } catch (thrown) {
      await sandboxes.remove(made).catch(() => {});
      throw thrown;
    }
  }

  async owners(): Promise<readonly Sandbox[]> {
    const { owner, sandboxes } = this.#parts;
    return await sandboxes.list(selectorOf(partLabels(owner, "worker")));
  }

  /** X2. Once half of it is over: a sweep comes often. */
  async keep(owners: readonly Sandbox[]): Promise<void> {
    const { clock, lastsMs, sandboxes } = this.#parts;
    const soon = clock.now() + lastsMs / 2;
    for (const { name, shutdownAt } of owners)
      if (shutdownAt === undefined || shutdownAt < soon)
        await sandboxes.setShutdown(name, this.#shutdownTime());
  }

  /** Of a start that is repeated. */
  async #found({ spec }: PodPlan, { metadata }: SandboxManifest): Promise<SandboxRef> {
    const found = await this.#parts.sandboxes.get(metadata.name);
    if (found?.spec?.worker === spec.worker && !found.isLeaving) return found;
    throw new BerthError("driver.failed", "Another sandbox has the worker's name");
  }

  /** The stream tells of the pod, and the Sandbox of what its controller was refused. */
  async #pod({ name, uid }: SandboxRef): Promise<Pod> {
    const { clock, informer, sandboxes } = this.#parts;
    const begun = clock.monotonic();
    const isIts = (pod: Pod | undefined) => (pod?.sandbox?.uid === uid ? pod : undefined);
    for (;;) {
      const pod = await informer.until(name, isIts, LOOK_EVERY_MS);
      if (pod !== undefined) return pod;
      const found = await sandboxes.get(name);
      const mine = found?.uid === uid ? found : undefined;
      const verdict = decideMade(mine, clock.monotonic() - begun);
      if (verdict.as === "failed") throw new BerthError(verdict.code, verdict.reason);
    }
  }

  #shutdownTime(): string {
    const { clock, lastsMs } = this.#parts;
    return new Date(clock.now() + lastsMs).toISOString();
  }
}

/** The pod as it would be made directly, with no Service, for nobody calls a worker. Pure. */
export function sandboxManifest(plan: PodPlan, shutdownTime: string): SandboxManifest {
  const { metadata, spec } = podManifest(plan);
  const { annotations, labels, name } = metadata;
  return {
    ...SANDBOX_TYPE,
    metadata: { name, labels, annotations },
    spec: {
      podTemplate: { metadata: { labels, annotations }, spec },
      service: false,
      operatingMode: "Running",
      shutdownTime,
      shutdownPolicy: "Delete",
    },
  };
}
