/** Chooses how workspaces are kept on this host, by trying. */
import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, realpathSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { asBerthError, BerthError } from "../../../protocols/errors.ts";
import type { Clock } from "../../../runtime/clock.ts";
import type { Logger } from "../../../runtime/logger.ts";
import { type RunCommand, runCommand } from "./command.ts";
import { filterOf, partLabels } from "./labels.ts";
import { LoopWorkspaces } from "./loop-workspaces.ts";
import { VolumeWorkspaces } from "./volume-workspaces.ts";
import { WorkspaceRecords } from "./workspace-records.ts";
import { type VolumeParts, WorkspaceVolumes } from "./workspace-volumes.ts";
import { WORKSPACE_FOLDER, type Workspaces, workspaceRoot } from "./workspaces.ts";

export interface WorkspacesOptions extends VolumeParts {
  /** Everything is kept in its folder `disks`. */
  readonly dataDir: string;
  /** Any image that the engine has. */
  readonly image: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly run?: RunCommand;
}

const TRIAL = "trial-";
const TRIAL_BYTES = 16 * 1024 ** 2;

/**
 * With limits where the host lets us mount, else without, and `weaknesses` says why. An empty workspace never takes the
 * place of one that was kept in the other way: while there are plain volumes they are used; with images that cannot be
 * mounted now it rejects with `driver.failed`.
 */
export async function openWorkspaces(options: WorkspacesOptions): Promise<Workspaces> {
  const { dataDir, docker, log, run = runCommand } = options;
  await docker.ping().catch((cause: unknown) => {
    throw new BerthError("driver.unavailable", "no container engine answers", { cause });
  });
  const folder = join(dataDir, "disks");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const root = realpathSync(folder);
  await removeTrialContainers(options);
  const without = (reason: string) => {
    log.warn({ reason }, "workspaces have no storage limits on this host");
    return new VolumeWorkspaces({ ...options, root, reason });
  };
  const plain = (await new WorkspaceVolumes(options).all()).filter(({ isShown }) => !isShown);
  if (plain.length > 0) return without(`${plain.length} of them are kept as volumes`);
  try {
    return await openLoop({ ...options, run, root });
  } catch (thrown) {
    const reason = asBerthError(thrown).message;
    const records = new WorkspaceRecords(root);
    const stranded = records.workspaces().filter((name) => existsSync(records.imagePath(name)));
    if (stranded.length === 0) return without(reason);
    throw new BerthError(
      "driver.failed",
      `${stranded.length} kept workspaces of this host cannot be mounted: ${reason}`,
      { cause: thrown },
    );
  }
}

type TrialOptions = WorkspacesOptions & { readonly root: string; readonly run: RunCommand };

async function openLoop(options: TrialOptions): Promise<LoopWorkspaces> {
  const workspaces = await LoopWorkspaces.open(options);
  try {
    for (const slot of await workspaces.slots())
      if (slot.startsWith(TRIAL)) await workspaces.closeSlot(slot);
    await tryOut(workspaces, options);
    return workspaces;
  } catch (thrown) {
    await workspaces.dispose().catch(() => {
      // What stands in the way of it stood in the way of the trial.
    });
    throw thrown;
  }
}

/** Does the engine find in a container what is mounted here? It may live on another host, or in another namespace. */
async function tryOut(
  workspaces: LoopWorkspaces,
  { docker, image, owner }: TrialOptions,
): Promise<void> {
  const slot = `${TRIAL}${randomUUID()}`;
  const mounts = await workspaces.openSlot(slot, { mode: "job", storageBytes: TRIAL_BYTES });
  try {
    const probe = `probe-${slot}`;
    for (const { Source } of mounts.Mounts ?? [])
      writeFileSync(join(Source, WORKSPACE_FOLDER, probe), "");
    const container = await docker.createContainer({
      Image: image,
      Cmd: ["true"],
      Labels: partLabels(owner, "workspace"),
      HostConfig: { NetworkMode: "none", ReadonlyRootfs: true, ...mounts },
    });
    try {
      await container.infoArchive({ path: join(workspaceRoot("job"), probe) });
    } catch (cause) {
      throw new BerthError("driver.failed", "the engine does not see what is mounted here", {
        cause,
      });
    } finally {
      await container.remove({ force: true });
    }
  } finally {
    await workspaces.closeSlot(slot);
  }
}

/** Of a process of ours that was killed over them. They never run. */
async function removeTrialContainers({ docker, owner }: WorkspacesOptions): Promise<void> {
  const filters = filterOf(owner, "workspace");
  for (const { Id } of await docker.listContainers({ all: true, filters }))
    await docker.getContainer(Id).remove({ force: true });
}
