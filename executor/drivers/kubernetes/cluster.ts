/** What this driver asks of the cluster, in one namespace: each call bounded, and safe to repeat. */
import type { V1PersistentVolumeClaim, V1Pod, V1Secret } from "@kubernetes/client-node";
import { BerthError } from "../../../protocols/errors.ts";
import { type Api, ApiRefusal, CONFLICT, GONE, NOT_FOUND } from "./api.ts";
import { type Pod, type RawPod, readPod, WORKER_CONTAINER } from "./pod.ts";
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

interface RawList<T> {
  readonly metadata: { readonly resourceVersion: string };
  readonly items: readonly T[];
}
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
const REFUSED = [NOT_FOUND, CONFLICT];

export class Cluster {
  readonly namespace: string;
  readonly #api: Api;

  constructor(api: Api, namespace: string) {
    this.#api = api;
    this.namespace = namespace;
  }

  get #core() {
    return `/api/v1/namespaces/${this.namespace}`;
  }
  get #policies() {
    return `/apis/networking.k8s.io/v1/namespaces/${this.namespace}/networkpolicies`;
  }

  /** Undefined: there is one of that name. Rejects with `capacity.exhausted` where a quota is used up. */
  async createPod(pod: V1Pod): Promise<Pod | undefined> {
    try {
      const made = await this.#create<RawPod>(`${this.#core}/pods`, pod);
      return made && readPod(made);
    } catch (thrown) {
      if (thrown instanceof ApiRefusal && thrown.message.includes("exceeded quota"))
        throw new BerthError("capacity.exhausted", thrown.message, { cause: thrown });
      throw thrown;
    }
  }

  async pod(name: string): Promise<Pod | undefined> {
    const raw = await this.#get<RawPod>(`${this.#core}/pods/${name}`);
    return raw && readPod(raw);
  }

  async pods(labelSelector: string): Promise<PodList> {
    const query = { labelSelector };
    const list = await this.#list<RawPod>(`${this.#core}/pods`, query);
    return { pods: list.items.map(readPod), resourceVersion: list.metadata.resourceVersion };
  }

  /** What has the name and another uid stays. */
  async deletePod({ name, uid }: Pick<Pod, "name" | "uid">, graceSeconds: number): Promise<void> {
    await this.#remove(`${this.#core}/pods/${name}`, {
      gracePeriodSeconds: graceSeconds,
      preconditions: { uid },
    });
  }

  /** Empty when there is none to be had. */
  async logTail(name: string, limitBytes: number): Promise<string> {
    const { status, text } = await this.#api.call({
      method: "GET",
      path: `${this.#core}/pods/${name}/log`,
      query: { container: WORKER_CONTAINER, tailLines: LOG_LINES },
      withinMs: LOG_WITHIN_MS,
      // 400: its container was never made, or is gone.
      expected: [400, NOT_FOUND],
    });
    return status === 200 && !APOLOGY.test(text) ? text.slice(-limitBytes) : "";
  }

  async putSecret(secret: V1Secret & { metadata?: { name?: string } }): Promise<void> {
    const path = `${this.#core}/secrets`;
    if ((await this.#create(path, secret)) !== undefined) return;
    // Of a start that was cut off.
    await this.deleteSecret(secret.metadata?.name ?? "");
    if ((await this.#create(path, secret)) === undefined)
      throw new BerthError("driver.failed", "The worker's identity could not be handed in");
  }

  async deleteSecret(name: string): Promise<void> {
    await this.#remove(`${this.#core}/secrets/${name}`, {});
  }

  async claim(name: string): Promise<V1PersistentVolumeClaim | undefined> {
    return await this.#get(`${this.#core}/persistentvolumeclaims/${name}`);
  }

  async claims(labelSelector: string): Promise<readonly V1PersistentVolumeClaim[]> {
    const path = `${this.#core}/persistentvolumeclaims`;
    return (await this.#list<V1PersistentVolumeClaim>(path, { labelSelector })).items;
  }

  async createClaim(claim: V1PersistentVolumeClaim): Promise<boolean> {
    return (await this.#create(`${this.#core}/persistentvolumeclaims`, claim)) !== undefined;
  }

  /** False: it is not there any more. Rejects with an `ApiRefusal` where the storage class cannot do that. */
  async patchClaim(name: string, patch: object): Promise<boolean> {
    const path = `${this.#core}/persistentvolumeclaims/${name}`;
    const { status } = await this.#api.call({
      ...{ method: "PATCH", path, body: patch },
      expected: [NOT_FOUND],
    });
    return status !== NOT_FOUND;
  }

  /** False: it has changed since, and stays. */
  async deleteClaim(
    name: string,
    preconditions: { readonly uid?: string; readonly resourceVersion?: string },
  ): Promise<boolean> {
    return await this.#remove(`${this.#core}/persistentvolumeclaims/${name}`, { preconditions });
  }

  async policies(labelSelector: string): Promise<readonly ListedPolicy[]> {
    return (await this.#list<ListedPolicy>(this.#policies, { labelSelector })).items;
  }

  async createPolicy(policy: NamedPolicy): Promise<void> {
    await this.#create(this.#policies, policy);
  }

  async patchPolicy(name: string, patch: object): Promise<void> {
    const path = `${this.#policies}/${name}`;
    await this.#api.call({ method: "PATCH", path, body: patch, expected: [NOT_FOUND] });
  }

  async deletePolicy(name: string): Promise<void> {
    await this.#remove(`${this.#policies}/${name}`, {});
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
      await this.#api.follow(
        { path: `${this.#core}/pods`, query },
        { open: on.open, line },
        signal,
      );
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

  async #create<T>(path: string, body: object): Promise<T | undefined> {
    const ask = { method: "POST", path, body, expected: [CONFLICT] } as const;
    const { status, text } = await this.#api.call(ask);
    return status === CONFLICT ? undefined : (JSON.parse(text) as T);
  }

  async #get<T>(path: string): Promise<T | undefined> {
    const { status, text } = await this.#api.call({ method: "GET", path, expected: [NOT_FOUND] });
    return status === NOT_FOUND ? undefined : (JSON.parse(text) as T);
  }

  async #list<T>(path: string, query: Readonly<Record<string, string>>): Promise<RawList<T>> {
    return await this.#api.json({ method: "GET", path, query });
  }

  async #remove(path: string, options: object): Promise<boolean> {
    const body = { apiVersion: "v1", kind: "DeleteOptions", ...options };
    const { status } = await this.#api.call({ method: "DELETE", path, body, expected: REFUSED });
    return status !== CONFLICT;
  }
}

function readEvent({ type, object }: RawEvent): PodEvent {
  const resourceVersion = object.metadata.resourceVersion ?? "";
  if (type === "BOOKMARK") return { type: "bookmark", resourceVersion };
  const pod = readPod(object);
  return { type: type === "DELETED" ? "removed" : "seen", pod, resourceVersion };
}
