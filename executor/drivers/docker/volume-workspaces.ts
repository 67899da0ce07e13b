/**
 * Workspaces as plain volumes of the engine, for hosts where nothing can be mounted: they are in the container from its
 * creation on, and nothing limits how much a worker writes. A scratch is memory.
 */
import { dirname } from "node:path";
import { asBerthError, BerthError } from "../../../protocols/errors.ts";
import type { WorkerSpec } from "../../../protocols/executor.ts";
import { parseId } from "../../../protocols/ids.ts";
import type { Clock } from "../../../runtime/clock.ts";
import type { KeptWorkspace } from "../driver.ts";
import { partLabels } from "./labels.ts";
import { NameLocks } from "./name-locks.ts";
import { ownedFolder } from "./owned-folder.ts";
import { type WorkspaceName, WorkspaceRecords } from "./workspace-records.ts";
import { type VolumeParts, WorkspaceVolumes } from "./workspace-volumes.ts";
import {
  type SlotKind,
  type SlotMounts,
  WORKSPACE_MODE,
  WORKSPACE_OWNER,
  type Workspaces,
  workspaceRoot,
} from "./workspaces.ts";

export interface VolumeWorkspacesParts extends VolumeParts {
  /** For records of slots, and of when a workspace was used. */
  readonly root: string;
  /** Any image of the engine. */
  readonly image: string;
  /** Why workspaces have no limits here. */
  readonly reason: string;
  readonly clock: Clock;
}

export class VolumeWorkspaces implements Workspaces {
  readonly isBounded = false;
  readonly weaknesses: readonly string[];
  readonly #parts: VolumeWorkspacesParts;
  readonly #records: WorkspaceRecords;
  readonly #volumes: WorkspaceVolumes;
  readonly #locks = new NameLocks();

  constructor(parts: VolumeWorkspacesParts) {
    this.#parts = parts;
    this.#records = new WorkspaceRecords(parts.root);
    this.#volumes = new WorkspaceVolumes(parts);
    this.weaknesses = [
      `storage limits of kept workspaces are NOT enforced, and the scratch of a job takes memory: ${parts.reason}`,
    ];
  }

  async openSlot(slot: string, { mode, storageBytes, spec }: SlotKind): Promise<SlotMounts> {
    parseId(slot, "slot");
    if (mode === "job") {
      this.#records.writeSlot(slot, { mode, storage_bytes: storageBytes, workspace: null });
      return { Tmpfs: { [workspaceRoot(mode)]: scratchOptions(storageBytes) } };
    }
    if (spec === undefined)
      throw new BerthError("driver.failed", "a volume cannot be bound into a container later");
    const workspace = { tenant: spec.tenant, key: spec.workspace_key };
    return await this.#locks.hold(this.#records.workspaceBase(workspace), async () => {
      // Intent before effect, as everywhere.
      this.#touch(workspace, storageBytes);
      this.#records.writeSlot(slot, { mode, storage_bytes: storageBytes, workspace });
      const volume = await this.#volumes.ensure(spec);
      await this.#own(volume, workspaceRoot(mode));
      return { Mounts: [{ Type: "volume", Source: volume, Target: workspaceRoot(mode) }] };
    });
  }

  /** It is there since the slot was opened. */
  bind(slot: string, spec: WorkerSpec): Promise<void> {
    const record = this.#records.slot(slot);
    const { workspace } = record ?? {};
    const isIn =
      record?.mode === spec.workspace &&
      (record.mode === "job" ||
        (workspace?.tenant === spec.tenant && workspace.key === spec.workspace_key));
    if (isIn) return Promise.resolve();
    const error = new BerthError("driver.failed", `slot ${slot} was not made for this worker`);
    return Promise.reject(error);
  }

  closeSlot(slot: string): Promise<void> {
    const workspace = this.#records.slot(slot)?.workspace;
    const known = workspace ? this.#records.workspace(workspace) : undefined;
    if (workspace && known !== undefined) this.#touch(workspace, known.storage_bytes);
    this.#records.removeSlot(slot);
    return Promise.resolve();
  }

  async remove(tenant: string, key: string): Promise<void> {
    const name = { tenant, key };
    await this.#locks.hold(this.#records.workspaceBase(name), async () => {
      if (this.#records.slotsOf(name).length > 0)
        throw new BerthError("driver.failed", `workspace ${tenant}/${key} is in use`);
      await this.#volumes.remove(name);
      this.#records.removeWorkspace(name);
    });
  }

  async kept(): Promise<readonly KeptWorkspace[]> {
    return await this.#volumes.kept(this.#records);
  }

  slots(): Promise<readonly string[]> {
    return Promise.resolve(this.#records.slots());
  }

  async isUsed(tenant: string, key: string): Promise<boolean> {
    const name = { tenant, key };
    return this.#records.slotsOf(name).length > 0 || (await this.#volumes.isMounted(name));
  }

  dispose(): Promise<void> {
    return Promise.resolve();
  }

  #touch(name: WorkspaceName, bytes: number): void {
    const used_at = this.#parts.clock.now();
    this.#records.writeWorkspace(name, { used_at, storage_bytes: bytes });
  }

  /** A new volume is root's. Only the engine can give it away, by way of a container, which need not run. */
  async #own(volume: string, target: string): Promise<void> {
    const { docker, image, owner } = this.#parts;
    try {
      const container = await docker.createContainer({
        Image: image,
        Cmd: ["true"],
        Labels: partLabels(owner, "workspace"),
        HostConfig: {
          NetworkMode: "none",
          Mounts: [{ Type: "volume", Source: volume, Target: target }],
        },
      });
      try {
        await container.putArchive(ownedFolder(), { path: dirname(target) });
      } finally {
        await container.remove({ force: true });
      }
    } catch (thrown) {
      throw asBerthError(thrown, "driver.failed");
    }
  }
}

/** Programs in it may run, as they may in a workspace that is kept. */
function scratchOptions(bytes: number): string {
  const owner = `uid=${WORKSPACE_OWNER},gid=${WORKSPACE_OWNER},mode=${WORKSPACE_MODE.toString(8)}`;
  return `rw,exec,nosuid,nodev,size=${bytes},${owner}`;
}
