/** Sandboxes of agent-sandbox in one namespace: each call bounded, and safe to repeat. */
import type { V1PodSpec } from "@kubernetes/client-node";
import { BerthError } from "../../../protocols/errors.ts";
import type { WorkerSpec } from "../../../protocols/executor.ts";
import { type Api, ApiRefusal, FORBIDDEN, NOT_FOUND } from "./api.ts";
import { ANNOTATIONS, type Labels } from "./labels.ts";
import { SANDBOX_GROUP, SANDBOX_KIND, type SandboxRef, specIn } from "./pod.ts";
import { Resources } from "./resources.ts";

/** The one that lasts: agent-sandbox serves it from v0.5.0 on. */
const VERSION = "v1beta1";

/** What of a Sandbox is ours to say. */
export interface SandboxManifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly labels: Labels;
    readonly annotations: Labels;
  };
  readonly spec: {
    readonly podTemplate: {
      readonly metadata: { readonly labels: Labels; readonly annotations: Labels };
      readonly spec: V1PodSpec;
    };
    readonly service: boolean;
    readonly operatingMode: "Running" | "Suspended";
    readonly shutdownTime: string;
    readonly shutdownPolicy: "Delete" | "Retain";
  };
}

export const SANDBOX_TYPE = {
  apiVersion: `${SANDBOX_GROUP}/${VERSION}`,
  kind: SANDBOX_KIND,
} as const;

/** What of a Sandbox this driver looks at. */
export interface Sandbox extends SandboxRef {
  /** Undefined: whoever made it is none of us. */
  readonly spec: WorkerSpec | undefined;
  readonly node: string;
  readonly isLeaving: boolean;
  readonly isSuspended: boolean;
  /** When its controller ends it, in milliseconds since the epoch; undefined: never. */
  readonly shutdownAt: number | undefined;
  /** Of its condition `Ready`: why it is not, with its controller's sentence. Empty while nobody has looked at it. */
  readonly reason: string;
  readonly message: string;
}

export interface RawSandbox {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly annotations?: Labels;
    readonly deletionTimestamp?: string;
  };
  readonly spec: { readonly operatingMode?: string; readonly shutdownTime?: string };
  readonly status?: {
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason?: string;
      readonly message?: string;
    }[];
  };
}

export class Sandboxes {
  readonly #sandboxes: Resources<RawSandbox>;

  constructor(api: Api, namespace: string) {
    const path = `/apis/${SANDBOX_TYPE.apiVersion}/namespaces/${namespace}/sandboxes`;
    this.#sandboxes = new Resources(api, path);
  }

  /** Undefined: there is one of that name. Rejects with `capacity.exhausted` where a quota is used up. */
  async create(manifest: SandboxManifest): Promise<Sandbox | undefined> {
    const made = await this.#sandboxes.create(manifest);
    return made && readSandbox(made);
  }

  async get(name: string): Promise<Sandbox | undefined> {
    const found = await this.#sandboxes.get(name);
    return found && readSandbox(found);
  }

  /** Rejects with `driver.unavailable` where the cluster has none, or we may not see them. */
  async list(labelSelector: string): Promise<readonly Sandbox[]> {
    try {
      return (await this.#sandboxes.list({ labelSelector })).items.map(readSandbox);
    } catch (thrown) {
      throw absenceOf(thrown) ?? thrown;
    }
  }

  async setShutdown(name: string, shutdownTime: string): Promise<void> {
    await this.#sandboxes.patch(name, { spec: { shutdownTime } });
  }

  /** The cluster removes what it had made. What has the name and another uid stays. */
  async remove({ name, uid }: SandboxRef): Promise<void> {
    await this.#sandboxes.remove(name, { preconditions: { uid } });
  }
}

export function readSandbox({ metadata, spec, status = {} }: RawSandbox): Sandbox {
  const ready = status.conditions?.find(({ type }) => type === "Ready");
  return {
    name: metadata.name,
    uid: metadata.uid,
    spec: specIn(metadata.annotations?.[ANNOTATIONS.spec]),
    node: metadata.annotations?.[ANNOTATIONS.node] ?? "",
    isLeaving: metadata.deletionTimestamp !== undefined,
    isSuspended: spec.operatingMode === "Suspended",
    shutdownAt: spec.shutdownTime === undefined ? undefined : Date.parse(spec.shutdownTime),
    reason: ready?.reason ?? "",
    message: ready?.message ?? "",
  };
}

function absenceOf(thrown: unknown): BerthError | undefined {
  if (!(thrown instanceof ApiRefusal)) return undefined;
  if (thrown.answered === NOT_FOUND)
    return new BerthError(
      "driver.unavailable",
      `The cluster serves no ${SANDBOX_KIND} of ${SANDBOX_TYPE.apiVersion}: install agent-sandbox v0.5.0 or newer, its CRD and its controller`,
      { cause: thrown },
    );
  if (thrown.answered === FORBIDDEN)
    return new BerthError(
      "driver.unavailable",
      `${thrown.message}: deploy/kubernetes/components/sandbox-workers allows it`,
      { cause: thrown },
    );
  return undefined;
}
