/**
 * The port to the disk of workers. A container gets a slot: a folder that is mounted into it when it is made. A workspace
 * is bound into the slot: at once, or much later, into a container that runs or is paused.
 */
import type Docker from "dockerode";
import type { WorkerSpec } from "../../../protocols/executor.ts";
import type { KeptWorkspace } from "../driver.ts";

export type WorkspaceMode = WorkerSpec["workspace"];

export interface SlotKind {
  readonly mode: WorkspaceMode;
  readonly storageBytes: number;
  /** Undefined: nobody's yet. Only slots that can be bound late take that for `user` and `tenant`. */
  readonly spec?: WorkerSpec;
}

/** For the container's configuration. */
export type SlotMounts = Pick<Docker.HostConfig, "Mounts" | "Tmpfs">;

export interface Workspaces {
  /** Storage limits hold, and a workspace can be bound late. */
  readonly isBounded: boolean;
  /** Each a sentence that people are told at the start. */
  readonly weaknesses: readonly string[];
  /** Makes the slot of one container, with an empty scratch in it for `job`. Safe to repeat. */
  openSlot(slot: string, kind: SlotKind): Promise<SlotMounts>;
  /**
   * Puts the spec's workspace into the slot, or an empty scratch of its size. Safe to repeat; a slot that holds another
   * workspace is refused with `driver.failed`.
   */
  bind(slot: string, spec: WorkerSpec): Promise<void>;
  /**
   * Takes out what the slot holds, and frees a scratch. Safe to repeat, and for slots that do not exist. Rejects with
   * `driver.failed` while a process of its container uses it.
   */
  closeSlot(slot: string): Promise<void>;
  /** Rejects with `id.invalid` for names that could lead elsewhere, with `driver.failed` while a slot uses it. */
  remove(tenant: string, key: string): Promise<void>;
  kept(): Promise<readonly KeptWorkspace[]>;
  /** All that were opened and not closed, also by an earlier process of ours. */
  slots(): Promise<readonly string[]>;
  isUsed(tenant: string, key: string): Promise<boolean>;
  /** Leaves the host as it was found, if no slot is left. Kept workspaces stay on disk. */
  dispose(): Promise<void>;
}

/** Where a slot is mounted in its container. What no job keeps is under `/tmp`, with the rest that goes. */
export const SLOT_TARGET: Readonly<Record<WorkspaceMode, string>> = {
  job: "/tmp/berth",
  user: "/berth",
  tenant: "/berth",
};

/** Name of the workspace's folder in its slot. */
export const WORKSPACE_FOLDER = "workspace";

/** Whose a workspace is in its container, and nobody else may look at it. */
export const WORKSPACE_OWNER = 1_000;
export const WORKSPACE_MODE = 0o700;

/** Where the executor finds the workspace. */
export function workspaceRoot(mode: WorkspaceMode): string {
  return `${SLOT_TARGET[mode]}/${WORKSPACE_FOLDER}`;
}
