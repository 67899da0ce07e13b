/** What a worker's pod comes of: the cluster is asked for it, or for something of which it makes one. */
import type { Pod } from "./pod.ts";
import type { PodPlan } from "./pod-manifest.ts";
import type { Sandbox } from "./sandboxes.ts";

export interface PodMaker {
  /**
   * Resolves with the worker's pod once it is in the cluster; with the first one's when it is asked again. Rejects with
   * `driver.failed`, or `capacity.exhausted`, and has left nothing.
   */
  make(plan: PodPlan): Promise<Pod>;
  /** All that stands in the cluster for workers of the deployment beside their pods. */
  owners(): Promise<readonly Sandbox[]>;
  /** Puts off the end that these would come to if nobody did. */
  keep(owners: readonly Sandbox[]): Promise<void>;
}
