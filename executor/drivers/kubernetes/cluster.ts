/** What this driver asks of the cluster, in one namespace: each call bounded, and safe to repeat. */
import type { V1PersistentVolumeClaim, V1Pod, V1Secret } from "@kubernetes/client-node";
import { BerthError } from "../../../protocols/errors.ts";
import { type Api, ApiRefusal, GONE, NOT_FOUND } from "./api.ts";
import { type Pod, type RawPod, readPod, WORKER_CONTAINER } from "./pod.ts";
import { type Preconditions, Resources } from "./resources.ts";
import { Sandboxes } from "./sandboxes.ts";
import type { NamedPolicy } from "./worker-policies.ts";

export interface PodList {
  readonly pods: readonly Pod[];
  readonly resourceVersion: string;
}

export interface ListedPolicy {
  readonly metadata?: { readonly name?: string };
  readonly spec?: object;
}

export type PodEvent =
  | { readonly type: "seen" | "removed"; readonly pod: Pod; readonly resourceVersion: string }
  | { readonly type: "bookmark"; readonly resourceVersion: string };

/** The versions that a watch could go on from are forgotten: only a list helps. */
export class WatchExpired extends Error {}

interface RawEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";
  readonly object: RawPod & { readonly code?: number; readonly message?: string };
}

const LOG_LINES = "500";
/** The machine itself is asked, which may be lost. */
const LOG_WITHIN_MS = 3_000;
/** What a machine answers in the place of a log that it has removed already. */
const APOLOGY = /^(?:failed to try resolving symlinks|unable to retrieve container logs)[^\n]*\n?$/;
/** After so long the API ends a watch, and it is opened again where it was. */
const WATCH_SECONDS = 240;
export class Cluster {
  readonly namespace: string;
  /** Of agent-sandbox, where the cluster has it. */
  readonly sandboxes: Sandboxes;
  readonly #api: Api;
  readonly #pods: Resources<RawPod>;
  readonly #secrets: Resources<V1Secret>;
  readonly #claims: Resources<V1PersistentVolumeClaim>;
  readonly #policies: Resources<ListedPolicy>;

  constructor(api: Api, namespace: string) {
    this.#api = api;
    this.namespace = namespace;
    const core = `/api/v1/namespaces/${namespace}`;
    this.#pods = new Resources(api, `${core}/pods`);
    this.#secrets = new Resources(api, `${core}/secrets`);
    this.#claims = new Resources(api, `${core}/persistentvolumeclaims`);
    const policies = `/apis/networking.k8s.io/v1/namespaces/${namespace}/networkpolicies`;
    this.#policies = new Resources(api, policies);
    this.sandboxes = new Sandboxes(api, namespace);
  }

  /** Undefined: there is one of that name. Rejects with `capacity.exhausted` where a quota is used up. */
  async createPod(pod: V1Pod): Promise<Pod | undefined> {
    const made = await this.#pods.create(pod);
    return made && readPod(made);
  }

  /** By the right that `pods` needs: no other is asked for. */
  async pod(name: string): Promise<Pod | undefined> {
    const { items } = await this.#pods.list({ fieldSelector: `metadata.name=${name}` });
    return items.map(readPod)[0];
  }

  async pods(labelSelector: string): Promise<PodList> {
    const list = await this.#pods.list({ labelSelector });
    return { pods: list.items.map(readPod), resourceVersion: list.metadata.resourceVersion };
  }

  /** What has the name and another uid stays. */
  async deletePod({ name, uid }: Pick<Pod, "name" | "uid">, graceSeconds: number): Promise<void> {
    await this.#pods.remove(name, { gracePeriodSeconds: graceSeconds, preconditions: { uid } });
  }

  /** Empty when there is none to be had. */
  async logTail(name: string, limitBytes: number): Promise<string> {
    const { status, text } = await this.#api.call({
      method: "GET",
      path: `${this.#pods.path}/${name}/log`,
      query: { container: WORKER_CONTAINER, tailLines: LOG_LINES },
      withinMs: LOG_WITHIN_MS,
      // 400: its container was never made, or is gone.
      expected: [400, NOT_FOUND],
    });
    return status === 200 && !APOLOGY.test(text) ? text.slice(-limitBytes) : "";
  }

  async putSecret(secret: V1Secret & { metadata?: { name?: string } }): Promise<void> {
    if ((await this.#secrets.create(secret)) !== undefined) return;
    // Of a start that was cut off.
    await this.deleteSecret(secret.metadata?.name ?? "");
    if ((await this.#secrets.create(secret)) === undefined)
      throw new BerthError("driver.failed", "The worker's identity could not be handed in");
  }

  async deleteSecret(name: string): Promise<void> {
    await this.#secrets.remove(name);
  }

  async claim(name: string): Promise<V1PersistentVolumeClaim | undefined> {
    return await this.#claims.get(name);
  }

  async claims(labelSelector: string): Promise<readonly V1PersistentVolumeClaim[]> {
    return (await this.#claims.list({ labelSelector })).items;
  }

  async createClaim(claim: V1PersistentVolumeClaim): Promise<boolean> {
    return (await this.#claims.create(claim)) !== undefined;
  }

  /** False: it is not there any more. Rejects with an `ApiRefusal` where the storage class cannot do that. */
  async patchClaim(name: string, patch: object): Promise<boolean> {
    return await this.#claims.patch(name, patch);
  }

  /** False: it has changed since, and stays. */
  async deleteClaim(name: string, preconditions: Preconditions): Promise<boolean> {
    return await this.#claims.remove(name, { preconditions });
  }

  async policies(labelSelector: string): Promise<readonly ListedPolicy[]> {
    return (await this.#policies.list({ labelSelector })).items;
  }

  async createPolicy(policy: NamedPolicy): Promise<void> {
    await this.#policies.create(policy);
  }

  async patchPolicy(name: string, patch: object): Promise<void> {
    await this.#policies.patch(name, patch);
  }

  async deletePolicy(name: string): Promise<void> {
    await this.#policies.remove(name);
  }

  /** What pods use, as a metrics server says it; undefined where the cluster has none. */
  async metrics(labelSelector: string): Promise<string | undefined> {
    const { status, text } = await this.#api.call({
      method: "GET",
      path: `/apis/metrics.k8s.io/v1beta1/namespaces/${this.namespace}/pods`,
      query: { labelSelector },
      // 503: its server is away.
      expected: [NOT_FOUND, 503],
    });
    return status === 200 ? text : undefined;
  }

  /** Resolves when the API ends the stream. Rejects with `WatchExpired`, or with what broke it. */
  async watchPods(
    from: { readonly labelSelector: string; readonly resourceVersion: string },
    on: { readonly open: () => void; readonly event: (event: PodEvent) => void },
    signal: AbortSignal,
  ): Promise<void> {
    const query = {
      ...from,
      watch: "true",
      allowWatchBookmarks: "true",
      timeoutSeconds: String(WATCH_SECONDS),
    };
    let expired: WatchExpired | undefined;
    const line = (text: string) => {
      const event = JSON.parse(text) as RawEvent;
      if (event.type === "ERROR") expired = new WatchExpired(event.object.message);
      else on.event(readEvent(event));
    };
    try {
      await this.#api.follow({ path: this.#pods.path, query }, { open: on.open, line }, signal);
    } catch (thrown) {
      if (thrown instanceof ApiRefusal && thrown.answered === GONE)
        throw new WatchExpired(thrown.message);
      throw thrown;
    }
    if (expired !== undefined) throw expired;
  }

  close(): void {
    this.#api.close();
  }
}

function readEvent({ type, object }: RawEvent): PodEvent {
  const resourceVersion = object.metadata.resourceVersion ?? "";
  if (type === "BOOKMARK") return { type: "bookmark", resourceVersion };
  const pod = readPod(object);
  return { type: type === "DELETED" ? "removed" : "seen", pod, resourceVersion };
}
