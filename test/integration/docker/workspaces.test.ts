/** Workspaces with limits, on the real kernel and engine. L1 to L6 stand in executor/drivers/docker/loop-workspaces.ts. */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { mustRun, runCommand } from "../../../executor/drivers/docker/command.ts";
import { LABELS } from "../../../executor/drivers/docker/labels.ts";
import { LoopWorkspaces } from "../../../executor/drivers/docker/loop-workspaces.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { describeDocker, docker } from "../../support/docker.ts";
import { eventually } from "../../support/eventually.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { MIB, openWorkspacesRig, specOf } from "../../support/workspaces-rig.ts";

const USER = { mode: "user", storageBytes: 64 * MIB } as const;
const JOB = { mode: "job", storageBytes: 64 * MIB } as const;
const TENANT = { mode: "tenant", storageBytes: 64 * MIB } as const;
const FILL = "dd if=/dev/zero of=/berth/workspace/full bs=1M count=200";

describeDocker("a workspace with limits", () => {
  it("is bound into a container that was started and paused before, for the process that ran then", async () => {
    await using rig = await openWorkspacesRig();
    const workspaces = await rig.open();
    const waits = "until touch /berth/workspace/from-before; do sleep 0.02; done; exec sleep 600";
    const container = await rig.container(await workspaces.openSlot("s1", USER), { script: waits });
    expect((await container.sh("ls -A /berth/workspace; touch /berth/workspace/x")).code).toBe(1);
    await container.pause();
    await workspaces.bind("s1", specOf());
    writeFileSync(join(rig.root, "slots/s1/workspace/from-host"), "");
    await container.unpause();
    const there = async () =>
      (await container.sh("ls -A /berth/workspace")).output === "from-before\nfrom-host";
    await eventually(there, { name: "the process sees its workspace" });
  });

  it("belongs to the worker alone, and takes what its size allows and no more", async () => {
    await using rig = await openWorkspacesRig();
    const workspaces = await rig.open();
    const container = await rig.container(await workspaces.openSlot("s1", USER));
    await workspaces.bind("s1", specOf());
    const { output } = await container.sh(
      "ls -A /berth/workspace; stat -c '%u:%g %a' /berth/workspace",
    );
    expect(output).toBe("1000:1000 700");
    const full = await container.sh(FILL);
    expect(full.output).toContain("No space left on device");
    const used = Number((await container.sh("stat -c %s /berth/workspace/full")).output);
    expect(used).toBeGreaterThan(48 * MIB);
    expect(used).toBeLessThan(64 * MIB);
  });

  it("is the only place in its slot that can be written to, even by root (L5)", async () => {
    await using rig = await openWorkspacesRig();
    const workspaces = await rig.open();
    const container = await rig.container(await workspaces.openSlot("s1", USER));
    await workspaces.bind("s1", specOf());
    expect((await container.sh("touch /berth/x")).code).not.toBe(0);
    const asRoot = await container.sh("touch /berth/x", "0:0");
    expect(asRoot.output).toContain("Read-only file system");
  });

  it("comes back in another container with what the first had left", async () => {
    await using rig = await openWorkspacesRig();
    const workspaces = await rig.open();
    for (const [slot, script] of [
      ["s1", "echo kept > /berth/workspace/note; echo 0"],
      ["s2", "cat /berth/workspace/note"],
    ] as const) {
      const container = await rig.container(await workspaces.openSlot(slot, USER));
      await workspaces.bind(slot, specOf());
      expect((await container.sh(script)).output).toBe(slot === "s1" ? "0" : "kept");
      await container.remove();
      await workspaces.closeSlot(slot);
    }
    expect((await rig.left()).filter((name) => !name.startsWith("volumes/"))).toEqual([
      `mount ${rig.root}`,
    ]);
  });

  it("is shared by all containers of its fleet, and stays when one of them goes (L3)", async () => {
    await using rig = await openWorkspacesRig();
    const workspaces = await rig.open();
    const spec = () => specOf({ workspace: "tenant", workspace_key: "fleet" });
    const [one, two] = [
      await rig.container(await workspaces.openSlot("s1", TENANT)),
      await rig.container(await workspaces.openSlot("s2", TENANT)),
    ];
    await Promise.all([workspaces.bind("s1", spec()), workspaces.bind("s2", spec())]);
    await one.sh("echo hello > /berth/workspace/note");
    expect((await two.sh("cat /berth/workspace/note")).output).toBe("hello");
    await one.remove();
    await workspaces.closeSlot("s1");
    const more = "cat /berth/workspace/note; echo more >> /berth/workspace/note";
    expect(await two.sh(more)).toEqual({ code: 0, output: "hello" });
    expect(await rig.left()).toContain(`mount ${rig.root}/volumes/acme/fleet`);
    await expect(workspaces.remove("acme", "fleet")).rejects.toMatchObject({
      code: "driver.failed",
      message: expect.stringContaining("in use"),
    });
    await workspaces.openSlot("s3", TENANT);
    await workspaces.bind("s3", spec());
    const third = join(rig.root, "slots/s3/workspace/note");
    expect(readFileSync(third, "utf8")).toBe("hello\nmore\n");
    await workspaces.closeSlot("s3");
    await two.remove();
    await workspaces.closeSlot("s2");
    expect((await rig.left()).filter((name) => !name.startsWith("volumes/"))).toEqual([
      `mount ${rig.root}`,
    ]);
    await workspaces.remove("acme", "fleet");
    expect(await rig.left()).toEqual([`mount ${rig.root}`]);
  });

  it("of a job is empty each time, under /tmp, and gone from the disk with its slot", async () => {
    await using rig = await openWorkspacesRig();
    const workspaces = await rig.open();
    for (const slot of ["s1", "s1", "s2"]) {
      const container = await rig.container(await workspaces.openSlot(slot, JOB));
      await workspaces.bind(slot, specOf({ workspace: "job" }));
      const look = "ls -A /tmp/berth/workspace && echo secret > /tmp/berth/workspace/left";
      expect(await container.sh(look)).toEqual({ code: 0, output: "" });
      await container.remove();
      await workspaces.closeSlot(slot);
      expect(await rig.left()).toEqual([`mount ${rig.root}`]);
    }
  });

  it("of a job is made anew when its size is another, and not when it is bound again", async () => {
    await using rig = await openWorkspacesRig();
    const workspaces = await rig.open();
    const container = await rig.container(await workspaces.openSlot("s1", JOB));
    await container.sh("touch /tmp/berth/workspace/mine");
    await workspaces.bind("s1", specOf({ workspace: "job" }));
    await workspaces.openSlot("s1", JOB);
    expect((await container.sh("ls /tmp/berth/workspace")).output).toBe("mine");
    await workspaces.bind("s1", specOf({ workspace: "job", storage_bytes: 32 * MIB }));
    expect((await container.sh("ls /tmp/berth/workspace")).output).toBe("");
    const { output } = await container.sh("df --output=size -m /tmp/berth/workspace | tail -1");
    expect(Number(output)).toBeLessThanOrEqual(32);
  });

  it("grows with its tier when nobody uses it, keeps its files, and never shrinks", async () => {
    await using rig = await openWorkspacesRig();
    const workspaces = await rig.open();
    const sizeIn = async (slot: string, mib: number) => {
      const container = await rig.container(await workspaces.openSlot(slot, USER));
      await workspaces.bind(slot, specOf({ storage_bytes: mib * MIB }));
      await container.sh("echo x >> /berth/workspace/lines");
      const { output } = await container.sh(
        "df --output=size -m /berth/workspace | tail -1; wc -l < /berth/workspace/lines",
      );
      const [size = "", lines] = output.split("\n");
      return { container, size: Number(size), lines: Number(lines) };
    };
    const first = await sizeIn("s1", 64);
    const meanwhile = await sizeIn("s2", 256);
    expect([meanwhile.size, meanwhile.lines]).toEqual([first.size, 2]);
    for (const { container } of [first, meanwhile]) await container.remove();
    for (const slot of ["s1", "s2"]) await workspaces.closeSlot(slot);
    const larger = await sizeIn("s3", 256);
    expect(larger.size).toBeGreaterThan(200);
    await larger.container.remove();
    await workspaces.closeSlot("s3");
    const smaller = await sizeIn("s4", 64);
    expect([smaller.size, smaller.lines]).toEqual([larger.size, 4]);
  });

  it("gives back to the host what its worker deletes", async () => {
    await using rig = await openWorkspacesRig();
    const workspaces = await rig.open();
    const container = await rig.container(await workspaces.openSlot("s1", USER));
    await workspaces.bind("s1", specOf());
    const image = join(rig.root, "volumes/acme/ann.img");
    const onDisk = () => statSync(image).blocks * 512;
    expect(onDisk()).toBeLessThan(8 * MIB);
    await container.sh(
      "dd if=/dev/urandom of=/berth/workspace/a bs=1M count=40; sync -f /berth/workspace",
    );
    expect(onDisk()).toBeGreaterThan(40 * MIB);
    await container.sh("rm /berth/workspace/a; sync -f /berth/workspace");
    await eventually(() => onDisk() < 8 * MIB, { name: "the host has its disk again" });
  });

  it("lets neither a setuid file nor a device in it take effect", async () => {
    await using rig = await openWorkspacesRig();
    const workspaces = await rig.open();
    const mounts = await workspaces.openSlot("s1", USER);
    await workspaces.bind("s1", specOf());
    const folder = join(rig.root, "slots/s1/workspace");
    copyFileSync("/usr/bin/id", join(folder, "id"));
    chmodSync(join(folder, "id"), 0o4755);
    await mustRun(runCommand, "mknod", ["-m", "666", join(folder, "zero"), "c", "1", "5"]);
    const attack = "exec 2>&1; cd /berth/workspace; ./id -u; head -c 1 zero | wc -c";
    const tryIt = async () => {
      const container = await rig.container(mounts, { isHardened: false });
      const { output } = await container.sh(attack);
      await container.remove();
      return output.split("\n");
    };
    const [user, denied, bytes] = await tryIt();
    expect([user, bytes]).toEqual(["1000", "0"]);
    expect(denied).toContain("Permission denied");
    // Without our options both take effect: the attack is a real one.
    await mustRun(runCommand, "mount", ["-o", "remount,bind,suid,dev", folder]);
    expect(await tryIt()).toEqual(["0", "1"]);
  });

  it("is mounted once on hosts that hand all their mounts on, as those with systemd do", async () => {
    await using rig = await openWorkspacesRig();
    const outer = rig.dataDir;
    for (const flags of [
      ["--bind", outer, outer],
      ["--make-private", outer],
      ["--make-shared", outer],
    ])
      await mustRun(runCommand, "mount", flags);
    const workspaces = await rig.open();
    const container = await rig.container(await workspaces.openSlot("s1", USER));
    await workspaces.bind("s1", specOf());
    const again = await rig.open();
    const mounted = (await rig.left()).filter((name) => name.startsWith("mount "));
    expect(mounted.map((name) => name.slice(`mount ${rig.root}`.length))).toEqual([
      "",
      "/volumes/acme/ann",
      "/slots/s1/workspace",
    ]);
    expect((await container.sh("touch /berth/workspace/x")).code).toBe(0);
    await container.remove();
    await again.closeSlot("s1");
  });

  it("is shown to people as a labelled volume, from its first use to its removal", async () => {
    await using rig = await openWorkspacesRig();
    const workspaces = await rig.open();
    await workspaces.openSlot("s1", USER);
    expect(await rig.volumes()).toEqual([]);
    const spec = specOf({ agent: "claude" });
    await workspaces.bind("s1", spec);
    const [name = ""] = await rig.volumes();
    const { Labels, Options } = await docker.getVolume(name).inspect();
    expect(Labels).toEqual({
      [LABELS.deployment]: rig.parts.owner.deployment,
      [LABELS.node]: "node-1",
      [LABELS.part]: "workspace",
      [LABELS.tenant]: "acme",
      [LABELS.user]: "ann",
      [LABELS.tier]: "pro",
      [LABELS.agent]: "claude",
      [LABELS.workspace]: "ann",
    });
    expect(Options?.["device"]).toBe(join(rig.root, "volumes/acme/ann"));
    await workspaces.closeSlot("s1");
    expect(await rig.volumes()).toEqual([name]);
    await workspaces.remove("acme", "ann");
    expect(await rig.volumes()).toEqual([]);
  });

  it("is listed with when it was last bound or let go, until it is removed", async () => {
    await using rig = await openWorkspacesRig();
    const clock = new ManualClock();
    const workspaces = await LoopWorkspaces.open({
      ...rig.parts,
      clock: { ...systemClock, now: () => clock.now() },
    });
    await workspaces.openSlot("s1", USER);
    const [before] = [clock.now()];
    await workspaces.bind("s1", specOf());
    expect(await workspaces.kept()).toEqual([{ tenant: "acme", key: "ann", usedAt: before }]);
    await clock.advance(60_000);
    await workspaces.closeSlot("s1");
    const again = await rig.open();
    expect(await again.kept()).toEqual([{ tenant: "acme", key: "ann", usedAt: before + 60_000 }]);
    await again.remove("acme", "ann");
    await again.remove("acme", "ann");
    expect(await again.kept()).toEqual([]);
  });

  it("whose record or whose image was lost is still listed and removed", async () => {
    await using rig = await openWorkspacesRig();
    const workspaces = await rig.open();
    for (const key of ["ann", "bob"]) {
      await workspaces.openSlot(key, USER);
      await workspaces.bind(key, specOf({ workspace_key: key }));
      await workspaces.closeSlot(key);
    }
    rmSync(join(rig.root, "volumes/acme/ann.json"));
    for (const ending of ["json", "img"]) rmSync(join(rig.root, `volumes/acme/bob.${ending}`));
    const kept = await workspaces.kept();
    expect(kept.map(({ key }) => key).toSorted()).toEqual(["ann", "bob"]);
    for (const { usedAt } of kept) expect(Math.abs(usedAt - Date.now())).toBeLessThan(60_000);
    for (const { tenant, key } of kept) await workspaces.remove(tenant, key);
    expect(await rig.volumes()).toEqual([]);
    expect(await rig.left()).toEqual([`mount ${rig.root}`]);
  });

  it("is refused to a slot that holds another, that was made for another mode, or that does not exist", async () => {
    await using rig = await openWorkspacesRig();
    const workspaces = await rig.open();
    await workspaces.openSlot("s1", USER);
    await workspaces.bind("s1", specOf());
    await workspaces.bind("s1", specOf());
    const failed = { code: "driver.failed" };
    await expect(workspaces.bind("s1", specOf({ workspace_key: "bob" }))).rejects.toMatchObject(
      failed,
    );
    await expect(workspaces.bind("s1", specOf({ workspace: "tenant" }))).rejects.toMatchObject(
      failed,
    );
    await expect(workspaces.bind("s2", specOf())).rejects.toMatchObject(failed);
    await expect(workspaces.openSlot("s1", JOB)).rejects.toMatchObject(failed);
    expect(await workspaces.isUsed("acme", "ann")).toBe(true);
    expect(await workspaces.isUsed("acme", "bob")).toBe(false);
  });

  it("is not removed, nor anything else, by names that lead elsewhere", async () => {
    await using rig = await openWorkspacesRig();
    const workspaces = await rig.open();
    await workspaces.openSlot("s1", USER);
    const invalid = { code: "id.invalid" };
    for (const name of ["..", "../x", "a/b", "", ".", "a.img"]) {
      await expect(workspaces.remove(name, "ann")).rejects.toMatchObject(invalid);
      await expect(workspaces.remove("acme", name)).rejects.toMatchObject(invalid);
      await expect(workspaces.openSlot(name, USER)).rejects.toMatchObject(invalid);
      await expect(workspaces.closeSlot(name)).rejects.toMatchObject(invalid);
      await expect(workspaces.bind("s1", specOf({ tenant: name }))).rejects.toMatchObject(invalid);
      await expect(workspaces.bind("s1", specOf({ workspace_key: name }))).rejects.toMatchObject(
        invalid,
      );
    }
  });

  it("is not torn from a process that uses it, and let go once that has ended", async () => {
    await using rig = await openWorkspacesRig();
    const clock = new ManualClock();
    const workspaces = await LoopWorkspaces.open({ ...rig.parts, clock });
    const container = await rig.container(await workspaces.openSlot("s1", USER));
    await workspaces.bind("s1", specOf());
    await container.sh("cd /berth/workspace; sleep 600 > file 2>&1 &");
    let refusal: unknown;
    workspaces.closeSlot("s1").catch((thrown: unknown) => {
      refusal = thrown;
    });
    const waited = async () => {
      await clock.advance(1_000);
      return refusal !== undefined;
    };
    await eventually(waited, { name: "the slot could not be closed" });
    expect(refusal).toMatchObject({ code: "driver.failed" });
    expect((await container.sh("ls /berth/workspace")).output).toBe("file");
    await container.remove();
    await (await rig.open()).closeSlot("s1");
  });

  it("leaves no mount, loop device or folder after twenty binds and closes at once (L6)", async () => {
    await using rig = await openWorkspacesRig();
    const workspaces = await rig.open();
    const run = async (i: number) => {
      const slot = `s${i}`;
      const spec = specOf(
        i % 4 === 0 ? { workspace: "job" } : { workspace: "tenant", workspace_key: `k${i % 5}` },
      );
      await workspaces.openSlot(slot, { mode: spec.workspace, storageBytes: spec.storage_bytes });
      await workspaces.bind(slot, spec);
      writeFileSync(join(rig.root, "slots", slot, "workspace", slot), "");
      await workspaces.closeSlot(slot);
    };
    await Promise.all(Array.from({ length: 20 }, (_, i) => run(i)));
    const kept = await workspaces.kept();
    expect(kept.map(({ key }) => key).toSorted()).toEqual(["k0", "k1", "k2", "k3", "k4"]);
    expect((await rig.left()).filter((name) => !name.startsWith("volumes/"))).toEqual([
      `mount ${rig.root}`,
    ]);
    await Promise.all(kept.map(({ tenant, key }) => workspaces.remove(tenant, key)));
    await workspaces.dispose();
    expect(await rig.left()).toEqual([]);
  });

  it("is never removed under a bind that runs at the same time, nor bound to what is being removed", async () => {
    await using rig = await openWorkspacesRig();
    const workspaces = await rig.open();
    for (let round = 0; round < 5; round += 1) {
      await workspaces.openSlot("s1", USER);
      const [, removal] = await Promise.allSettled([
        workspaces.bind("s1", specOf()),
        workspaces.remove("acme", "ann"),
      ]);
      writeFileSync(join(rig.root, "slots/s1/workspace/file"), "");
      expect(existsSync(join(rig.root, "volumes/acme/ann/file"))).toBe(true);
      if (removal.status === "rejected")
        expect(removal.reason).toMatchObject({ code: "driver.failed" });
      await workspaces.closeSlot("s1");
    }
  });
});
