/**
 * Workspaces whose limits hold: each is an image of its own, mounted once on the host. It appears in a container that runs
 * or is paused because the slot's folder lies in a mount that hands later mounts on. Needs root and loop devices.
 *
 * Invariants:
 * L1 Intent before effect: a slot's record is on disk before anything else of it, and goes after everything else; so is a
 *    workspace's. After a crash between any two steps, `closeSlot` and `remove` find what is left.
 * L2 What is mounted, and so who uses what, is asked of the kernel. Nothing is remembered.
 * L3 A kept workspace is mounted once, bound into each slot that has it, and unmounted when the last lets go.
 * L4 A workspace that a slot holds, or is meant to hold, is not removed.
 * L5 A slot's folder is root's, and read-only in the container: nothing can be written beside the workspace, past its limit.
 * L6 Of one slot, and of one workspace, one thing happens at a time; slot before workspace.
 */
import { chmodSync, existsSync, mkdirSync, rmdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { BerthError } from "../../../protocols/errors.ts";
import type { WorkerSpec } from "../../../protocols/executor.ts";
import type { Clock } from "../../../runtime/clock.ts";
import type { Logger } from "../../../runtime/logger.ts";
import type { KeptWorkspace } from "../driver.ts";
import type { RunCommand } from "./command.ts";
import { LoopImage } from "./loop-image.ts";
import { Mounts } from "./mounts.ts";
import { NameLocks } from "./name-locks.ts";
import { type SlotRecord, type WorkspaceName, WorkspaceRecords } from "./workspace-records.ts";
import { type VolumeParts, WorkspaceVolumes } from "./workspace-volumes.ts";
import {
  SLOT_TARGET,
  type SlotKind,
  type SlotMounts,
  WORKSPACE_FOLDER,
  type Workspaces,
} from "./workspaces.ts";

export interface LoopParts extends VolumeParts {
  /** Exists, is nobody else's, and its path leads over no link. */
  readonly root: string;
  readonly run: RunCommand;
  readonly clock: Clock;
  readonly log: Logger;
}

/** For the worker to pass through to its workspace. */
const FOR_ALL_TO_PASS = 0o755;

export class LoopWorkspaces implements Workspaces {
  readonly isBounded = true;
  readonly weaknesses = [];
  readonly #parts: LoopParts;
  readonly #mounts: Mounts;
  readonly #records: WorkspaceRecords;
  readonly #volumes: WorkspaceVolumes;
  readonly #slotLocks = new NameLocks();
  readonly #workspaceLocks = new NameLocks();

  private constructor(parts: LoopParts) {
    this.#parts = parts;
    this.#mounts = new Mounts(parts);
    this.#records = new WorkspaceRecords(parts.root);
    this.#volumes = new WorkspaceVolumes(parts);
  }

  /** Takes up what an earlier process of ours had made. Rejects with `driver.failed` where nothing can be mounted. */
  static async open(parts: LoopParts): Promise<LoopWorkspaces> {
    const workspaces = new LoopWorkspaces(parts);
    await workspaces.#mounts.share(parts.root);
    await workspaces.#closeIdle();
    return workspaces;
  }

  async openSlot(slot: string, { mode, storageBytes }: SlotKind): Promise<SlotMounts> {
    const folder = this.#records.slotFolder(slot);
    return await this.#slotLocks.hold(slot, async () => {
      const known = this.#records.slot(slot);
      if (known !== undefined && known.mode !== mode)
        throw new BerthError("driver.failed", `slot ${slot} was made for ${known.mode}`);
      const record = known ?? { mode, storage_bytes: storageBytes, workspace: null };
      this.#records.writeSlot(slot, record);
      for (const path of [folder, join(folder, WORKSPACE_FOLDER)]) {
        if (existsSync(path)) continue;
        mkdirSync(path);
        chmodSync(path, FOR_ALL_TO_PASS);
      }
      if (mode === "job") await this.#putScratch(slot, record, storageBytes);
      return { Mounts: [slotMount(folder, SLOT_TARGET[mode])] };
    });
  }

  async bind(slot: string, spec: WorkerSpec): Promise<void> {
    await this.#slotLocks.hold(slot, async () => {
      const record = this.#records.slot(slot);
      if (record?.mode !== spec.workspace)
        throw new BerthError("driver.failed", `there is no slot ${slot} for ${spec.workspace}`);
      if (spec.workspace === "job") await this.#putScratch(slot, record, spec.storage_bytes);
      else await this.#putKept(slot, record, spec);
    });
  }

  async closeSlot(slot: string): Promise<void> {
    const folder = this.#records.slotFolder(slot);
    await this.#slotLocks.hold(slot, async () => {
      const target = join(folder, WORKSPACE_FOLDER);
      const record = this.#records.slot(slot);
      await this.#mounts.unmount(target);
      if (record?.workspace) await this.#letGo(record.workspace);
      // Nobody can say what it had held.
      if (record === undefined) await this.#closeIdle();
      await this.#scratch(slot).remove();
      for (const path of [target, folder]) if (existsSync(path)) rmdirSync(path);
      this.#records.removeSlot(slot);
    });
  }

  async remove(tenant: string, key: string): Promise<void> {
    const name = { tenant, key };
    const image = this.#image(name);
    await this.#workspaceLocks.hold(image.path, async () => {
      if (this.#isUsed(name))
        throw new BerthError("driver.failed", `workspace ${tenant}/${key} is in use`);
      await this.#volumes.remove(name);
      await image.remove();
      this.#records.removeWorkspace(name);
    });
  }

  async kept(): Promise<readonly KeptWorkspace[]> {
    return await this.#volumes.kept(this.#records);
  }

  slots(): Promise<readonly string[]> {
    return Promise.resolve(this.#records.slots());
  }

  isUsed(tenant: string, key: string): Promise<boolean> {
    return Promise.resolve(this.#isUsed({ tenant, key }));
  }

  async dispose(): Promise<void> {
    await this.#closeIdle();
    const { root } = this.#parts;
    const isEmpty = !this.#mounts.all().some(({ target }) => target.startsWith(`${root}/`));
    // Whoever still looks into it keeps it there, and nothing is lost by that.
    if (isEmpty && this.#records.slots().length === 0) await this.#parts.run("umount", [root]);
  }

  async #putScratch(slot: string, record: SlotRecord, bytes: number): Promise<void> {
    const scratch = this.#scratch(slot);
    const target = join(this.#records.slotFolder(slot), WORKSPACE_FOLDER);
    if (this.#mounts.at(target) !== undefined && record.storage_bytes === bytes) return;
    await this.#mounts.unmount(target);
    await scratch.remove();
    this.#records.writeSlot(slot, { ...record, storage_bytes: bytes });
    await scratch.open({ bytes, mustGrow: false, hasJournal: false });
    await this.#mounts.bind(scratch.folder, target);
  }

  async #putKept(slot: string, record: SlotRecord, spec: WorkerSpec): Promise<void> {
    const name = { tenant: spec.tenant, key: spec.workspace_key };
    const image = this.#image(name);
    const held = record.workspace;
    if (held !== null && (held.tenant !== name.tenant || held.key !== name.key))
      throw new BerthError("driver.failed", `slot ${slot} holds ${held.tenant}/${held.key}`);
    this.#records.writeSlot(slot, { ...record, workspace: name });
    const target = join(this.#records.slotFolder(slot), WORKSPACE_FOLDER);
    await this.#workspaceLocks.hold(image.path, async () => {
      await this.#openKept(name, image, spec);
      if (this.#mounts.at(target) === undefined) await this.#mounts.bind(image.folder, target);
    });
  }

  async #openKept(name: WorkspaceName, image: LoopImage, spec: WorkerSpec): Promise<void> {
    const bytes = spec.storage_bytes;
    const now = this.#parts.clock.now();
    const made = statSync(image.path, { throwIfNoEntry: false });
    const madeBytes =
      made === undefined ? bytes : (this.#records.workspace(name)?.storage_bytes ?? made.size);
    this.#records.writeWorkspace(name, { used_at: now, storage_bytes: madeBytes });
    const shown = this.#volumes.ensure(spec, image.folder);
    shown.catch(() => {});
    const isSized = await image.open({ bytes, mustGrow: bytes > madeBytes, hasJournal: true });
    if (isSized && bytes > madeBytes)
      this.#records.writeWorkspace(name, { used_at: now, storage_bytes: bytes });
    await shown;
  }

  /** L3. The slot has been emptied. */
  async #letGo(name: WorkspaceName): Promise<void> {
    const image = this.#image(name);
    await this.#workspaceLocks.hold(image.path, async () => {
      const record = this.#records.workspace(name);
      if (record !== undefined)
        this.#records.writeWorkspace(name, { ...record, used_at: this.#parts.clock.now() });
      if (this.#bindsOf(image) === 0) await image.close();
    });
  }

  /** What an earlier process of ours was killed over. */
  async #closeIdle(): Promise<void> {
    const mounted = new Set(this.#mounts.all().map(({ target }) => target));
    const images = this.#records.workspaces().map((name) => this.#image(name));
    for (const image of images.filter(({ folder }) => mounted.has(folder))) {
      await this.#workspaceLocks.hold(image.path, async () => {
        if (this.#bindsOf(image) === 0) await image.close();
      });
    }
  }

  /** L2, L4. */
  #isUsed(name: WorkspaceName): boolean {
    return this.#records.slotsOf(name).length > 0 || this.#bindsOf(this.#image(name)) > 0;
  }

  #bindsOf(image: LoopImage): number {
    const all = this.#mounts.all();
    const own = all.findLast(({ target }) => target === image.folder);
    const inSlots = `${this.#records.slotsFolder}/`;
    return all.filter(({ device, target }) => device === own?.device && target.startsWith(inSlots))
      .length;
  }

  #image(name: WorkspaceName): LoopImage {
    const images = { ...this.#parts, mounts: this.#mounts };
    return new LoopImage(images, this.#records.imagePath(name), this.#records.workspaceBase(name));
  }

  #scratch(slot: string): LoopImage {
    const base = join(this.#parts.root, "scratch", slot);
    return new LoopImage({ ...this.#parts, mounts: this.#mounts }, `${base}.img`, base);
  }
}

/** L5. What is mounted below it later is as writable as it was made. */
function slotMount(source: string, target: string) {
  const options = { Propagation: "rslave" as const, ReadOnlyNonRecursive: true };
  return {
    Type: "bind" as const,
    Source: source,
    Target: target,
    ReadOnly: true,
    BindOptions: options,
  };
}
