/**
 * Workers of this node that live in the cluster, and those that start.
 *
 * Invariant:
 * O1 From the first step of a start to the end of a removal a worker is in here, so that no sweep takes its things for nobody's.
 */
import type { WorkerSpec } from "../../../protocols/executor.ts";
import type { SandboxRef } from "./pod.ts";

export interface Known {
  readonly spec: WorkerSpec;
  readonly pod: string;
  readonly uid: string;
  /** What would make another pod of it. */
  readonly sandbox: SandboxRef | undefined;
  /** Set while its end is under way: then nothing else ends it, or tells of it. */
  isEnding: boolean;
}

export interface Start {
  readonly spec: WorkerSpec;
  readonly pod: string;
  readonly done: Promise<void>;
}

export class Roster {
  readonly known = new Map<string, Known>();
  readonly starting = new Map<string, Start>();

  byPod(name: string): Known | undefined {
    return [...this.known.values()].find(({ pod }) => pod === name);
  }

  /** O1. */
  owns({ name, uid }: { readonly name: string; readonly uid: string }): boolean {
    return this.#starts(name) || this.byPod(name)?.uid === uid;
  }

  /** O1. A Sandbox has the name of its pod. */
  ownsSandbox({ name, uid }: SandboxRef): boolean {
    return this.#starts(name) || this.byPod(name)?.sandbox?.uid === uid;
  }

  #starts(name: string): boolean {
    return [...this.starting.values()].some(({ pod }) => pod === name);
  }

  /** Also while a worker starts, whose pod is not there yet. */
  mayUse(tenant: string, key: string): boolean {
    if (this.starting.size > 0) return true;
    return [...this.known.values()].some(
      ({ spec }) => spec.tenant === tenant && spec.workspace_key === key,
    );
  }
}
