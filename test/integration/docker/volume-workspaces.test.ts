/** How workspaces are kept where nothing can be mounted, and how that is found out. */
import { join } from "node:path";
import Docker from "dockerode";
import { expect, it } from "vitest";
import { type RunCommand, runCommand } from "../../../executor/drivers/docker/command.ts";
import { filterOf, partLabels } from "../../../executor/drivers/docker/labels.ts";
import { LoopWorkspaces } from "../../../executor/drivers/docker/loop-workspaces.ts";
import { openWorkspaces } from "../../../executor/drivers/docker/open-workspaces.ts";
import { VolumeWorkspaces } from "../../../executor/drivers/docker/volume-workspaces.ts";
import { describeDocker, docker, EXECUTOR_IMAGE } from "../../support/docker.ts";
import {
  MIB,
  openWorkspacesRig,
  specOf,
  type WorkspacesRig,
} from "../../support/workspaces-rig.ts";

const JOB = { mode: "job", storageBytes: 8 * MIB } as const;
const user = (spec = specOf()) => ({ mode: "user", storageBytes: 8 * MIB, spec }) as const;

const volumesOf = (rig: WorkspacesRig) =>
  new VolumeWorkspaces({ ...rig.parts, image: EXECUTOR_IMAGE, reason: "the test says so" });

const openIn = (rig: WorkspacesRig, run: RunCommand = runCommand) =>
  openWorkspaces({ ...rig.parts, dataDir: rig.dataDir, image: EXECUTOR_IMAGE, run });

/** As without root. */
const noMounts: RunCommand = async (program, args) =>
  program === "mount"
    ? { code: 32, stdout: "", stderr: "mount: must be superuser" }
    : await runCommand(program, args);

describeDocker("workspaces without limits", () => {
  it("are volumes of the worker's own that come back in another container", async () => {
    await using rig = await openWorkspacesRig();
    const workspaces = volumesOf(rig);
    expect(workspaces.isBounded).toBe(false);
    expect(workspaces.weaknesses).toMatchObject([expect.stringContaining("NOT enforced")]);
    const look = "stat -c '%u:%g %a' /berth/workspace; cat /berth/workspace/note";
    for (const slot of ["s1", "s2"]) {
      const container = await rig.container(await workspaces.openSlot(slot, user()));
      await workspaces.bind(slot, specOf());
      if (slot === "s2") expect((await container.sh(look)).output).toBe("1000:1000 700\nkept");
      else expect((await container.sh("echo kept > /berth/workspace/note")).code).toBe(0);
      await expect(workspaces.remove("acme", "ann")).rejects.toMatchObject({
        code: "driver.failed",
      });
      await container.remove();
      await workspaces.closeSlot(slot);
    }
    expect(await workspaces.kept()).toMatchObject([{ tenant: "acme", key: "ann" }]);
    await workspaces.remove("acme", "ann");
    expect([await workspaces.kept(), await rig.volumes()]).toEqual([[], []]);
  });

  it("of a job are memory of the size that was asked for, in which programs run", async () => {
    await using rig = await openWorkspacesRig();
    const workspaces = volumesOf(rig);
    const container = await rig.container(await workspaces.openSlot("s1", JOB));
    await workspaces.bind("s1", specOf({ workspace: "job" }));
    const script = [
      "cd /tmp/berth/workspace && ls -A && stat -c '%u:%g %a' .",
      "cp /bin/true . && ./true && dd if=/dev/zero of=full bs=1M 2>/dev/null; stat -c %s full",
    ].join("; ");
    const [owner, size] = (await container.sh(script)).output.split("\n");
    expect(owner).toBe("1000:1000 700");
    expect(Number(size)).toBeGreaterThan(7 * MIB);
    expect(Number(size)).toBeLessThanOrEqual(8 * MIB);
  });

  it("cannot be bound late, and say so", async () => {
    await using rig = await openWorkspacesRig();
    const workspaces = volumesOf(rig);
    const failed = { code: "driver.failed" };
    const early = { mode: "user", storageBytes: MIB } as const;
    await expect(workspaces.openSlot("s1", early)).rejects.toMatchObject(failed);
    await workspaces.openSlot("s1", user());
    const other = specOf({ workspace_key: "bob" });
    await expect(workspaces.bind("s1", other)).rejects.toMatchObject(failed);
    await expect(workspaces.bind("s2", specOf())).rejects.toMatchObject(failed);
  });

  it("are known to the next process, which sees who uses them also without its records", async () => {
    await using rig = await openWorkspacesRig();
    const before = volumesOf(rig);
    const container = await rig.container(await before.openSlot("s1", user()));
    const after = volumesOf(rig);
    expect(await after.slots()).toEqual(["s1"]);
    await after.closeSlot("s1");
    expect(await after.isUsed("acme", "ann")).toBe(true);
    await expect(after.remove("acme", "ann")).rejects.toMatchObject({ code: "driver.failed" });
    await container.remove();
    expect(await after.isUsed("acme", "ann")).toBe(false);
    await expect(after.remove("acme", "../..")).rejects.toMatchObject({ code: "id.invalid" });
    await after.remove("acme", "ann");
  });
});

describeDocker("the choice of workspaces", () => {
  it("is for limits where they hold, and leaves nothing of its trial", async () => {
    await using rig = await openWorkspacesRig();
    const workspaces = await openIn(rig);
    expect(workspaces.isBounded).toBe(true);
    expect(workspaces.weaknesses).toEqual([]);
    expect(await rig.left()).toEqual([`mount ${rig.root}`]);
    expect(await docker.listContainers({ all: true, filters: filterOf(rig.parts.owner) })).toEqual(
      [],
    );
    await workspaces.dispose();
    expect(await rig.left()).toEqual([]);
  });

  it("clears away the trial of a process that was killed over it", async () => {
    await using rig = await openWorkspacesRig();
    const killed = await rig.open();
    const mounts = await killed.openSlot("trial-x", JOB);
    await docker.createContainer({
      Image: EXECUTOR_IMAGE,
      Cmd: ["true"],
      Labels: partLabels(rig.parts.owner, "workspace"),
      HostConfig: mounts,
    });
    const workspaces = await openIn(rig);
    expect(await workspaces.slots()).toEqual([]);
    expect(await docker.listContainers({ all: true, filters: filterOf(rig.parts.owner) })).toEqual(
      [],
    );
  });

  it("is for volumes where nothing can be mounted, with the reason in the host's own words", async () => {
    await using rig = await openWorkspacesRig();
    const workspaces = await openIn(rig, noMounts);
    expect(workspaces.isBounded).toBe(false);
    expect(workspaces.weaknesses).toMatchObject([expect.stringContaining("must be superuser")]);
    expect(await rig.left()).toEqual([]);
  });

  it("is for volumes where the engine does not see what is mounted here", async () => {
    await using rig = await openWorkspacesRig();
    // The engine's host is another one: what it has at that path is another folder.
    const createContainer = (options: Docker.ContainerCreateOptions) => {
      const mounts = (options.HostConfig?.Mounts ?? []).map((mount) => ({
        ...mount,
        Source: "/srv",
      }));
      return docker.createContainer({
        ...options,
        HostConfig: { ...options.HostConfig, Mounts: mounts },
      });
    };
    const elsewhere: Docker = Object.assign(Object.create(docker), { createContainer });
    const parts = { ...rig.parts, dataDir: rig.dataDir, image: EXECUTOR_IMAGE, docker: elsewhere };
    const workspaces = await openWorkspaces(parts);
    expect(workspaces.weaknesses).toMatchObject([
      expect.stringContaining("the engine does not see"),
    ]);
  });

  it("never puts an empty workspace in the place of one that was kept in the other way", async () => {
    await using rig = await openWorkspacesRig();
    const bounded = await openIn(rig);
    await bounded.openSlot("s1", { mode: "user", storageBytes: 8 * MIB });
    await bounded.bind("s1", specOf({ storage_bytes: 8 * MIB }));
    await bounded.closeSlot("s1");
    await bounded.dispose();
    await expect(openIn(rig, noMounts)).rejects.toMatchObject({
      code: "driver.failed",
      message: expect.stringContaining("1 kept workspaces"),
    });
    await (await openIn(rig)).remove("acme", "ann");

    const plain = volumesOf(rig);
    await plain.openSlot("s1", user());
    await plain.closeSlot("s1");
    const still = await openIn(rig);
    expect(still).toBeInstanceOf(VolumeWorkspaces);
    await still.remove("acme", "ann");
    expect(await openIn(rig)).toBeInstanceOf(LoopWorkspaces);
  });

  it("is not made while no engine answers", async () => {
    await using rig = await openWorkspacesRig();
    const nobody = new Docker({ socketPath: join(rig.dataDir, "nobody.sock") });
    const options = { ...rig.parts, dataDir: rig.dataDir, image: EXECUTOR_IMAGE, docker: nobody };
    await expect(openWorkspaces(options)).rejects.toMatchObject({ code: "driver.unavailable" });
  });
});
