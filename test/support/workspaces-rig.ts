/** Workspaces on the real kernel and engine, in a folder and under a deployment of their own. Nothing of it is left at the end, or the test fails. */
import { randomUUID } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { onTestFinished } from "vitest";
import { mustRun, type RunCommand, runCommand } from "../../executor/drivers/docker/command.ts";
import { filterOf, partLabels } from "../../executor/drivers/docker/labels.ts";
import { LoopWorkspaces } from "../../executor/drivers/docker/loop-workspaces.ts";
import { Mounts } from "../../executor/drivers/docker/mounts.ts";
import type { SlotMounts, Workspaces } from "../../executor/drivers/docker/workspaces.ts";
import type { WorkerSpec } from "../../protocols/executor.ts";
import { systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { docker, EXECUTOR_IMAGE } from "./docker.ts";
import { eventually } from "./eventually.ts";

export const MIB = 1024 ** 2;

let count = 0;

export function specOf(overrides: Partial<WorkerSpec> = {}): WorkerSpec {
  return {
    worker: `wrk-${process.pid}-${++count}`,
    tenant: "acme",
    user: "ann",
    tier: "pro",
    slots: 2,
    workspace: "user",
    workspace_key: "ann",
    cpus: 1,
    memory_bytes: 256 * MIB,
    storage_bytes: 64 * MIB,
    processes: 64,
    network: "user",
    internet: false,
    ...overrides,
  };
}

export interface Ran {
  readonly code: number | null;
  readonly output: string;
}

export interface TestContainer {
  readonly id: string;
  /** Runs a script in it, as the worker's user unless another is named. */
  sh(script: string, user?: string): Promise<Ran>;
  pause(): Promise<unknown>;
  unpause(): Promise<unknown>;
  remove(): Promise<void>;
}

export interface WorkspacesRig extends AsyncDisposable {
  readonly dataDir: string;
  readonly root: string;
  readonly parts: {
    readonly docker: typeof docker;
    readonly owner: { readonly deployment: string; readonly node: string };
    readonly root: string;
    readonly run: RunCommand;
    readonly clock: typeof systemClock;
    readonly log: typeof silentLogger;
  };
  /** As after a restart of the node, or on programs that are made to fail. */
  open(run?: RunCommand): Promise<LoopWorkspaces>;
  /** Runs, hardened as workers are unless told otherwise, and does what the script says. */
  container(mounts: SlotMounts, options?: ContainerOptions): Promise<TestContainer>;
  /** Names of the deployment's volumes. */
  volumes(): Promise<string[]>;
  /** Closes and removes all that the workspaces know of; then nothing of them may be left. */
  clear(workspaces: Workspaces): Promise<void>;
  /** Mounts, loop devices and files that lie in the folder. */
  left(): Promise<string[]>;
}

interface ContainerOptions {
  /** Sleeps unless it says otherwise. */
  readonly script?: string;
  readonly isHardened?: boolean;
}

export async function openWorkspacesRig(): Promise<WorkspacesRig> {
  const dataDir = realpathSync(mkdtempSync(join(tmpdir(), "berth-disks-")));
  const root = join(dataDir, "disks");
  mkdirSync(root);
  const owner = { deployment: `test-${randomUUID().slice(0, 8)}`, node: "node-1" };
  const parts = { docker, owner, root, run: runCommand, clock: systemClock, log: silentLogger };
  const mounts = new Mounts(parts);
  const below = () => mounts.all().filter(({ target }) => target.startsWith(`${dataDir}/`));
  const volumes = async () =>
    (await docker.listVolumes({ filters: filterOf(owner) })).Volumes.map(({ Name }) => Name);
  const left = async () => [
    ...below().map(({ target }) => `mount ${target}`),
    ...(await loopFiles())
      .filter((path) => path.startsWith(`${dataDir}/`))
      .map((path) => `loop ${path}`),
    ...filesIn(root),
  ];
  const removeContainers = async () => {
    for (const { Id } of await docker.listContainers({ all: true, filters: filterOf(owner) }))
      await docker.getContainer(Id).remove({ force: true });
  };
  const open = (run = runCommand) => LoopWorkspaces.open({ ...parts, run });
  const clear = async (workspaces: Workspaces) => {
    for (const slot of await workspaces.slots()) await workspaces.closeSlot(slot);
    for (const { tenant, key } of await workspaces.kept()) await workspaces.remove(tenant, key);
    await workspaces.dispose();
  };
  let isDisposed = false;
  const dispose = async () => {
    if (isDisposed) return;
    isDisposed = true;
    await removeContainers();
    const failed = await open()
      .then(clear)
      .then(
        () => [],
        (thrown: unknown) => [thrown],
      );
    const remains = await left();
    const own = mounts.all().filter(({ target }) => target === dataDir);
    for (const { target } of [...own, ...below()].toReversed())
      await mustRun(runCommand, "umount", ["--lazy", target]);
    for (const name of await volumes()) await docker.getVolume(name).remove();
    rmSync(dataDir, { recursive: true, force: true });
    if (failed.length > 0) throw failed[0];
    if (remains.length > 0) throw new Error(`left behind: ${remains.join(", ")}`);
  };
  // A test that hangs never gets to the end of its block.
  onTestFinished(dispose);
  return {
    dataDir,
    root,
    parts,
    open,
    container: (slot, options = {}) => startContainer(partLabels(owner, "worker"), slot, options),
    volumes,
    left,
    clear,
    [Symbol.asyncDispose]: dispose,
  };
}

async function startContainer(
  labels: Readonly<Record<string, string>>,
  mounts: SlotMounts,
  { script = "exec sleep 600", isHardened = true }: ContainerOptions,
): Promise<TestContainer> {
  const container = await docker.createContainer({
    Image: EXECUTOR_IMAGE,
    Entrypoint: ["/bin/sh", "-c"],
    Cmd: [script],
    User: "1000:1000",
    Labels: labels,
    Healthcheck: { Test: ["NONE"] },
    HostConfig: {
      ...mounts,
      NetworkMode: "none",
      Init: true,
      ReadonlyRootfs: true,
      ...(isHardened ? { CapDrop: ["ALL"], SecurityOpt: ["no-new-privileges"] } : {}),
      Tmpfs: { "/tmp": "rw,nosuid,nodev,mode=1777,size=16777216", ...mounts.Tmpfs },
    },
  });
  await container.start();
  return {
    id: container.id,
    pause: () => container.pause(),
    unpause: () => container.unpause(),
    remove: async () => void (await container.remove({ force: true })),
    sh: (script, user = "1000:1000") => runIn(container.id, script, user),
  };
}

async function runIn(id: string, script: string, user: string): Promise<Ran> {
  const exec = await docker.getContainer(id).exec({
    Cmd: ["/bin/sh", "-c", script],
    User: user,
    AttachStdout: true,
    AttachStderr: true,
  });
  const stream = await exec.start({});
  const output = new PassThrough();
  docker.modem.demuxStream(stream, output, output);
  let text = "";
  output.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  await new Promise((resolve) => stream.once("end", resolve));
  const code = await eventually(async () => (await exec.inspect()).ExitCode ?? false, {
    name: "the script has ended",
  });
  return { code, output: text.trim() };
}

/** Files that loop devices hold, in every namespace. */
async function loopFiles(): Promise<string[]> {
  const args = ["--all", "--noheadings", "--output", "BACK-FILE"];
  const listed = await mustRun(runCommand, "losetup", args);
  return listed
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
}

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .filter((path) => !["slots", "volumes", "scratch"].includes(path));
}
