/**
 * Stands in for the controller of agent-sandbox on a real cluster, for one namespace: written from its source, the reconciler of
 * `Sandbox` in v1beta1 (controllers/sandbox_controller.go). What of its doings concerns a driver:
 *
 * U1 A Sandbox that is being removed is left alone: the cluster's garbage collector removes its pod.
 * U2 Running, without a pod: one is made, named as the Sandbox, of its template; reserved keys of the template are dropped, its
 *    own are added, and the Sandbox is its controlling owner. So a pod that is gone is made again, at once.
 * U3 A pod that has ended, or is being ended, is left as it is: another comes when it is gone from the API.
 * U4 A pod of that name that the Sandbox does not own is an error.
 * U5 Suspended: the pod is removed.
 * U6 Past its time: it is marked as expired, then its pod is removed, and with the policy `Delete` the Sandbox too.
 * U7 `Ready` says why not: DependenciesNotReady, PodSucceeded, PodFailed, SandboxSuspended, SandboxExpired, or ReconcilerError
 *    with «Error seen: …», after which it tries again; `Finished` and `Suspended` come beside it.
 */
import { Api, NOT_FOUND } from "../../../executor/drivers/kubernetes/api.ts";
import { clusterAccess } from "../../../executor/drivers/kubernetes/cluster-access.ts";
import { asBerthError } from "../../../protocols/errors.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { KUBECONFIG } from "../kubernetes.ts";

type Texts = Readonly<Record<string, string>>;
interface Meta {
  readonly name: string;
  readonly uid: string;
  readonly generation?: number;
  readonly deletionTimestamp?: string;
  readonly ownerReferences?: readonly { readonly uid: string; readonly controller?: boolean }[];
}
interface Condition {
  readonly type: string;
  readonly status: "True" | "False";
  readonly reason: string;
  readonly message: string;
  readonly lastTransitionTime?: string;
}
interface Sandbox {
  readonly metadata: Meta;
  readonly spec: {
    readonly podTemplate: {
      readonly metadata?: { readonly labels?: Texts; readonly annotations?: Texts };
      readonly spec: object;
    };
    readonly operatingMode?: string;
    readonly shutdownTime?: string;
    readonly shutdownPolicy?: string;
  };
  readonly status?: { readonly conditions?: readonly Condition[] };
}
interface Pod {
  readonly metadata: Meta;
  readonly status?: {
    readonly phase?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  };
}

const API = "agents.x-k8s.io/v1beta1";
const RESERVED = /^(?:extensions\.)?agents\.x-k8s\.io\//;
const NAME_HASH = "agents.x-k8s.io/sandbox-name-hash";
const TRY_AGAIN_MS = 500;
const LONGEST_WAIT_MS = 5_000;
const clock = systemClock;

export class SandboxController implements AsyncDisposable {
  readonly #api: Api;
  readonly #namespace: string;
  readonly #closing = new AbortController();
  #running: readonly Promise<void>[] = [];
  #isDirty = true;
  #wake: () => void = () => {};

  private constructor(api: Api, namespace: string) {
    this.#api = api;
    this.#namespace = namespace;
  }

  static async start(namespace: string): Promise<SandboxController> {
    const api = new Api(await clusterAccess(KUBECONFIG), clock);
    const controller = new SandboxController(api, namespace);
    controller.#running = [
      controller.#run(),
      controller.#follow(controller.#sandboxes),
      controller.#follow(controller.#pods),
    ];
    return controller;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    this.#stir();
    await Promise.all(this.#running);
    this.#api.close();
  }

  get #sandboxes() {
    return `/apis/${API}/namespaces/${this.#namespace}/sandboxes`;
  }
  get #pods() {
    return `/api/v1/namespaces/${this.#namespace}/pods`;
  }

  #stir(): void {
    this.#isDirty = true;
    this.#wake();
  }

  /** Every word of a stream is a hint: all is looked at again. */
  async #follow(path: string): Promise<void> {
    const { signal } = this.#closing;
    const stir = () => this.#stir();
    while (!signal.aborted) {
      const query = { watch: "true", timeoutSeconds: "240" };
      await this.#api.follow({ path, query }, { open: stir, line: stir }, signal).catch(() => {});
      if (!signal.aborted) await clock.sleep(TRY_AGAIN_MS, signal).catch(() => {});
    }
  }

  async #run(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      this.#isDirty = false;
      const waitMs = await this.#look().catch(() => TRY_AGAIN_MS);
      await this.#stirred(waitMs);
    }
  }

  async #stirred(withinMs: number): Promise<void> {
    if (this.#isDirty) return;
    await new Promise<void>((resolve) => {
      const cancel = clock.after(withinMs, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }

  /** Resolves with how long it may take until the next look. */
  async #look(): Promise<number> {
    const ask = { method: "GET", path: this.#sandboxes } as const;
    const { items } = await this.#api.json<{ items: readonly Sandbox[] }>(ask);
    let waitMs = LONGEST_WAIT_MS;
    for (const { metadata } of items) {
      // As it is now: it may have gone since.
      const sandbox = await this.#find<Sandbox>(this.#sandboxes, metadata.name);
      if (sandbox === undefined || sandbox.metadata.deletionTimestamp !== undefined) continue; // U1
      if (!(await this.#reconcile(sandbox))) waitMs = TRY_AGAIN_MS;
      const leftMs = endOf(sandbox) - clock.now();
      if (leftMs > 0) waitMs = Math.min(waitMs, leftMs);
    }
    return waitMs;
  }

  /** False: it wants to be tried again. */
  async #reconcile(sandbox: Sandbox): Promise<boolean> {
    try {
      if (endOf(sandbox) <= clock.now()) await this.#expire(sandbox);
      else await this.#tell(sandbox, conditionsOf(sandbox, await this.#pod(sandbox)));
      return true;
    } catch (thrown) {
      const message = `Error seen: ${asBerthError(thrown).message}`;
      await this.#tell(sandbox, [ready(message, "ReconcilerError")]).catch(() => {});
      return false;
    }
  }

  async #pod(sandbox: Sandbox): Promise<Pod | undefined> {
    const { name, uid } = sandbox.metadata;
    const pod = await this.#find<Pod>(this.#pods, name);
    if (pod !== undefined && !isOwned(pod, uid))
      throw new Error(`cannot adopt unowned pod "${name}"`); // U4
    if (sandbox.spec.operatingMode === "Suspended") {
      if (pod && !pod.metadata.deletionTimestamp) await this.#removePod(name); // U5
      return pod;
    }
    if (pod !== undefined) return pod; // U3
    const ask = { method: "POST", path: this.#pods, body: podOf(sandbox) } as const;
    return await this.#api.json<Pod>(ask); // U2
  }

  /** U6. */
  async #expire(sandbox: Sandbox): Promise<void> {
    const { name, uid } = sandbox.metadata;
    await this.#tell(sandbox, [ready("Sandbox has expired", "SandboxExpired")]);
    const pod = await this.#find<Pod>(this.#pods, name);
    if (pod !== undefined && isOwned(pod, uid)) await this.#removePod(name);
    if (sandbox.spec.shutdownPolicy !== "Delete") return;
    const path = `${this.#sandboxes}/${name}`;
    await this.#api.call({ method: "DELETE", path, expected: [NOT_FOUND] });
  }

  async #find<T>(folder: string, name: string): Promise<T | undefined> {
    const path = `${folder}/${name}`;
    const { status, text } = await this.#api.call({ method: "GET", path, expected: [NOT_FOUND] });
    return status === NOT_FOUND ? undefined : (JSON.parse(text) as T);
  }

  async #removePod(name: string): Promise<void> {
    const path = `${this.#pods}/${name}`;
    await this.#api.call({ method: "DELETE", path, expected: [NOT_FOUND] });
  }

  /** U7. */
  async #tell({ metadata, status }: Sandbox, conditions: readonly Condition[]): Promise<void> {
    const known = status?.conditions ?? [];
    const isSame = (one: Condition) =>
      known.some(
        ({ message, reason, type }) =>
          type === one.type && reason === one.reason && message === one.message,
      );
    if (conditions.length === known.length && conditions.every(isSame)) return;
    const lastTransitionTime = new Date().toISOString();
    const dated = conditions.map((one) => ({ ...one, lastTransitionTime }));
    await this.#api.call({
      method: "PATCH",
      path: `${this.#sandboxes}/${metadata.name}/status`,
      body: { status: { conditions: dated, selector: `${NAME_HASH}=${nameHash(metadata.name)}` } },
      expected: [NOT_FOUND],
    });
  }
}

const endOf = ({ spec }: Sandbox) =>
  spec.shutdownTime === undefined ? Number.POSITIVE_INFINITY : Date.parse(spec.shutdownTime);

const isOwned = ({ metadata }: Pod, uid: string) =>
  metadata.ownerReferences?.some((owner) => owner.controller === true && owner.uid === uid) ??
  false;

const ready = (message: string, reason: string, status: Condition["status"] = "False") => ({
  type: "Ready",
  status,
  reason,
  message,
});

function conditionsOf({ spec }: Sandbox, pod: Pod | undefined): Condition[] {
  const { conditions = [], phase = "Pending" } = pod?.status ?? {};
  if (spec.operatingMode === "Suspended") {
    const reason = pod ? "PodNotTerminated" : "PodTerminated";
    const status = pod ? "False" : "True";
    const message = pod ? "Sandbox is suspending" : "Sandbox is suspended";
    return [{ type: "Suspended", status, reason, message }, ready(message, "SandboxSuspended")];
  }
  if (phase === "Succeeded" || phase === "Failed") {
    const [reason, message] =
      phase === "Failed"
        ? ["PodFailed", "Pod failed"]
        : ["PodSucceeded", "Pod completed successfully"];
    return [{ type: "Finished", status: "True", reason, message }, ready(message, reason)];
  }
  const isReady = conditions.some(({ status, type }) => type === "Ready" && status === "True");
  return [
    isReady
      ? ready("Pod is Ready", "DependenciesReady", "True")
      : ready(`Pod exists with phase: ${phase}`, "DependenciesNotReady"),
  ];
}

function podOf({ metadata, spec }: Sandbox): object {
  const { annotations = {}, labels = {} } = spec.podTemplate.metadata ?? {};
  const own = (all: Texts) => Object.entries(all).filter(([key]) => !RESERVED.test(key));
  const keys = (all: Texts) =>
    own(all)
      .map(([key]) => key)
      .toSorted()
      .join(",");
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: metadata.name,
      labels: { ...Object.fromEntries(own(labels)), [NAME_HASH]: nameHash(metadata.name) },
      annotations: {
        ...Object.fromEntries(own(annotations)),
        "agents.x-k8s.io/propagated-labels": keys(labels),
        "agents.x-k8s.io/propagated-annotations": keys(annotations),
      },
      ownerReferences: [
        {
          apiVersion: API,
          kind: "Sandbox",
          name: metadata.name,
          uid: metadata.uid,
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
    },
    spec: spec.podTemplate.spec,
  };
}

/** FNV-1a of 32 bits, as eight hexadecimal digits. */
function nameHash(name: string): string {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(name)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash.toString(16).padStart(8, "0");
}
