/**
 * Kept workspaces: a PersistentVolumeClaim each, of the whole deployment, so that a user's next worker finds it wherever it runs.
 *
 * Invariants:
 * W1 A start marks the claim as used before it asks for the pod, and a claim is removed only as it was when it was found to be
 *    unused: of a start and a removal at the same time one sees the other.
 * W2 A claim that a pod mounts is not removed. The cluster's own finalizer would remove it with the pod, data and all.
 */
import type { V1PersistentVolumeClaim } from "@kubernetes/client-node";
import { BerthError } from "../../../protocols/errors.ts";
import type { WorkerSpec } from "../../../protocols/executor.ts";
import { parseId } from "../../../protocols/ids.ts";
import type { Clock } from "../../../runtime/clock.ts";
import type { Logger } from "../../../runtime/logger.ts";
import type { KeptWorkspace, Wanted } from "../driver.ts";
import { ApiRefusal } from "./api.ts";
import type { Cluster } from "./cluster.ts";
import {
  ANNOTATIONS,
  type ClusterOwner,
  claimName,
  deploymentLabels,
  LABELS,
  labelValue,
  partLabels,
  selectorOf,
} from "./labels.ts";
import { hasEnded, type Pod } from "./pod.ts";
import type { PodInformer } from "./pod-informer.ts";
import { parseQuantity } from "./quantity.ts";

export interface WorkspaceClaimsParts {
  readonly cluster: Cluster;
  /** What is known of pods costs nothing to look at. */
  readonly informer: Pick<PodInformer, "all">;
  readonly owner: ClusterOwner;
  /** Undefined: the cluster's default. */
  readonly storageClass: string | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

/** A claim that is being removed is gone when nobody mounts it any more. */
const GONE_WITHIN_MS = 30_000;
const LOOK_EVERY_MS = 100;
/** A marking and a removal may cross as often. */
const TRIES = 3;

export class WorkspaceClaims {
  readonly #parts: WorkspaceClaimsParts;

  constructor(parts: WorkspaceClaimsParts) {
    this.#parts = parts;
  }

  /** Resolves with the name of the claim of a worker that starts (W1). */
  async open(spec: WorkerSpec): Promise<string> {
    const { cluster } = this.#parts;
    const manifest = this.#manifest(spec);
    const { name } = manifest.metadata;
    for (let tries = 0; tries < TRIES; tries += 1) {
      const found = await cluster.claim(name);
      if (found?.metadata?.deletionTimestamp !== undefined) await this.#gone(name);
      else if (found === undefined) {
        if (await cluster.createClaim(manifest)) return name;
      } else if (await this.touch(spec)) {
        await this.#grow(found, spec);
        return name;
      }
    }
    throw new BerthError("driver.failed", "The workspace is being removed and made at once");
  }

  /** Somebody used it now. False: there is none. */
  async touch({ tenant, workspace_key }: WorkerSpec): Promise<boolean> {
    const annotations = { [ANNOTATIONS.usedAt]: String(this.#parts.clock.now()) };
    const name = claimName(this.#parts.owner.deployment, tenant, workspace_key);
    return await this.#parts.cluster.patchClaim(name, { metadata: { annotations } });
  }

  /** Rejects with `id.invalid` for names that could lead elsewhere, with `driver.failed` while a pod mounts it. */
  async remove(tenant: string, key: string): Promise<void> {
    const { deployment } = this.#parts.owner;
    const name = claimName(deployment, parseId(tenant, "tenant"), parseId(key, "workspace_key"));
    const found = await this.#parts.cluster.claim(name);
    if (found === undefined) return;
    if (!(await this.#removeUnused(found)))
      throw new BerthError("driver.failed", "A worker uses the workspace");
  }

  /** Removes those that no pod uses and nobody wants. `mayUse`: a worker of ours starts that will. */
  async sweep(
    { isWorkspaceWanted: isWanted, leave }: Pick<Wanted, "isWorkspaceWanted" | "leave">,
    mayUse: (tenant: string, key: string) => boolean,
  ): Promise<string[]> {
    const { cluster, owner } = this.#parts;
    const removed: string[] = [];
    for (const claim of await cluster.claims(selectorOf(partLabels(owner, "workspace")))) {
      const workspace = keptIn(claim);
      if (workspace === undefined || claim.metadata?.deletionTimestamp !== undefined) continue;
      const { key, tenant } = workspace;
      try {
        if (mayUse(tenant, key) || this.#seemsMounted(claim) || (await isWanted(workspace)))
          continue;
        // Asked again after the answer: a worker may have started meanwhile.
        if (mayUse(tenant, key) || !(await this.#removeUnused(claim))) continue;
        removed.push(`workspace ${tenant}/${key}`);
      } catch (thrown) {
        leave(`workspace ${tenant}/${key}`, thrown);
      }
    }
    return removed;
  }

  /** W1, W2. Resolves when it is gone; with false when it is used, or has been since it was read. */
  async #removeUnused(claim: V1PersistentVolumeClaim): Promise<boolean> {
    const { name = "", resourceVersion, uid } = claim.metadata ?? {};
    if (await this.#isMounted(claim)) return false;
    const preconditions = {
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    };
    if (!(await this.#parts.cluster.deleteClaim(name, preconditions))) return false;
    await this.#gone(name);
    return true;
  }

  #seemsMounted(claim: V1PersistentVolumeClaim): boolean {
    return mounts(this.#parts.informer.all(), claim);
  }

  /** As the cluster says at this moment, of all nodes' pods. */
  async #isMounted(claim: V1PersistentVolumeClaim): Promise<boolean> {
    const { cluster, owner } = this.#parts;
    return mounts((await cluster.pods(selectorOf(deploymentLabels(owner)))).pods, claim);
  }

  async #gone(name: string): Promise<void> {
    const { clock, cluster } = this.#parts;
    const until = clock.monotonic() + GONE_WITHIN_MS;
    while ((await cluster.claim(name)) !== undefined) {
      if (clock.monotonic() > until)
        throw new BerthError("driver.failed", "The workspace is still held by the cluster");
      await clock.sleep(LOOK_EVERY_MS);
    }
  }

  /** It never shrinks. Not every storage class can make one larger: then it stays as it was. */
  async #grow(claim: V1PersistentVolumeClaim, spec: WorkerSpec): Promise<void> {
    const { cluster, log } = this.#parts;
    const asked = parseQuantity(claim.spec?.resources?.requests?.["storage"] ?? "");
    if (Number.isNaN(asked) || asked >= spec.storage_bytes) return;
    const requests = { storage: String(spec.storage_bytes) };
    try {
      await cluster.patchClaim(claim.metadata?.name ?? "", { spec: { resources: { requests } } });
    } catch (thrown) {
      if (!(thrown instanceof ApiRefusal)) throw thrown;
      log.warn({ err: thrown, tenant: spec.tenant }, "a workspace cannot be made larger");
    }
  }

  #manifest(spec: WorkerSpec): V1PersistentVolumeClaim & { metadata: { name: string } } {
    const { clock, owner, storageClass } = this.#parts;
    const { tenant, workspace_key: key } = spec;
    return {
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      metadata: {
        name: claimName(owner.deployment, tenant, key),
        labels: {
          ...partLabels(owner, "workspace"),
          [LABELS.tenant]: labelValue(tenant),
          [LABELS.workspace]: labelValue(key),
          [LABELS.tier]: spec.tier,
        },
        annotations: {
          [ANNOTATIONS.tenant]: tenant,
          [ANNOTATIONS.workspace]: key,
          [ANNOTATIONS.usedAt]: String(clock.now()),
        },
      },
      spec: {
        accessModes: ["ReadWriteOnce"],
        ...(storageClass === undefined ? {} : { storageClassName: storageClass }),
        resources: { requests: { storage: String(spec.storage_bytes) } },
      },
    };
  }
}

function mounts(pods: readonly Pod[], { metadata }: V1PersistentVolumeClaim): boolean {
  return pods.some((pod) => !hasEnded(pod) && pod.claims.includes(metadata?.name ?? ""));
}

function keptIn({ metadata }: V1PersistentVolumeClaim): KeptWorkspace | undefined {
  const of = metadata?.annotations ?? {};
  const [tenant, key] = [of[ANNOTATIONS.tenant], of[ANNOTATIONS.workspace]];
  if (tenant === undefined || key === undefined) return undefined;
  return { tenant, key, usedAt: Number(of[ANNOTATIONS.usedAt] ?? 0) };
}
