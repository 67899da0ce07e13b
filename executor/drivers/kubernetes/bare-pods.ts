/** Workers' pods, made directly. */
import { BerthError } from "../../../protocols/errors.ts";
import type { Cluster } from "./cluster.ts";
import { podName } from "./labels.ts";
import type { Pod } from "./pod.ts";
import type { PodMaker } from "./pod-maker.ts";
import { type PodPlan, podManifest } from "./pod-manifest.ts";
import type { Sandbox } from "./sandboxes.ts";

export class BarePods implements PodMaker {
  readonly #cluster: Pick<Cluster, "createPod" | "pod">;

  constructor(cluster: Pick<Cluster, "createPod" | "pod">) {
    this.#cluster = cluster;
  }

  async make(plan: PodPlan): Promise<Pod> {
    const made = await this.#cluster.createPod(podManifest(plan));
    if (made !== undefined) return made;
    const found = await this.#cluster.pod(podName(plan.owner.deployment, plan.spec.worker));
    if (found?.spec?.worker === plan.spec.worker && !found.isLeaving) return found;
    throw new BerthError("driver.failed", "Another pod has the worker's name");
  }

  owners(): Promise<readonly Sandbox[]> {
    return Promise.resolve([]);
  }

  async keep(): Promise<void> {}
}
