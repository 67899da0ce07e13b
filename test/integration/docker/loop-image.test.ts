/** Images on the real kernel. I1 to I4 stand in executor/drivers/docker/loop-image.ts. */
import { spawn } from "node:child_process";
import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { mustRun, type RunCommand, runCommand } from "../../../executor/drivers/docker/command.ts";
import { LoopImage } from "../../../executor/drivers/docker/loop-image.ts";
import { Mounts } from "../../../executor/drivers/docker/mounts.ts";
import { readState } from "../../../executor/drivers/docker/superblock.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { describeDocker } from "../../support/docker.ts";
import { eventually } from "../../support/eventually.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { MIB, openWorkspacesRig, type WorkspacesRig } from "../../support/workspaces-rig.ts";

const KEPT = { bytes: 32 * MIB, mustGrow: false, hasJournal: true };
const SCRATCH = { bytes: 32 * MIB, mustGrow: false, hasJournal: false };

/** In a folder that hands mounts on, as all of them are. */
async function imageIn(
  rig: WorkspacesRig,
  parts: Partial<ConstructorParameters<typeof LoopImage>[0]> = {},
): Promise<LoopImage> {
  const mounts = new Mounts(rig.parts);
  await mounts.share(rig.root);
  const base = join(rig.root, "scratch/s1");
  return new LoopImage({ ...rig.parts, mounts, ...parts }, `${base}.img`, base);
}

/** Ends with the test, and all that it started with it. */
function start(program: string, args: readonly string[]): { readonly pid: number; end(): void } {
  const child = spawn(program, args, { stdio: "ignore", detached: true });
  const pid = child.pid ?? 0;
  const end = () => {
    try {
      process.kill(-pid, "SIGKILL");
    } catch {
      // All of it has ended.
    }
  };
  onTestFinished(end);
  return { pid, end };
}

function recorded(run: RunCommand = runCommand) {
  const programs: string[] = [];
  const recording: RunCommand = (program, args) => {
    programs.push(program === "flock" ? (args[5] ?? "") : program);
    return run(program, args);
  };
  return { programs, run: recording };
}

describeDocker("an image", () => {
  it("takes almost no disk, whatever its size, and has all of it to give", async () => {
    await using rig = await openWorkspacesRig();
    for (const size of [KEPT, SCRATCH]) {
      const image = await imageIn(rig);
      await image.open({ ...size, bytes: 100 * 1024 * MIB });
      expect(statSync(image.path).blocks * 512).toBeLessThan(8 * MIB);
      const df = await mustRun(runCommand, "df", ["--output=avail", "-BG", image.folder]);
      expect(Number.parseInt(df.split("\n")[1] ?? "", 10)).toBeGreaterThan(95);
      await image.remove();
    }
  });

  it("is made, mounted and unmounted once, however often it is asked", async () => {
    await using rig = await openWorkspacesRig();
    const { programs, run } = recorded();
    const image = await imageIn(rig, { run, mounts: new Mounts({ ...rig.parts, run }) });
    for (let i = 0; i < 3; i += 1) await image.open(KEPT);
    for (let i = 0; i < 3; i += 1) await image.close();
    expect(programs).toEqual(["mkfs.ext4", "mount", "umount"]);
    for (let i = 0; i < 3; i += 1) await image.remove();
  });

  it("that was left half made is made anew, and no half of it stays (I1)", async () => {
    await using rig = await openWorkspacesRig();
    const killed: RunCommand = async (program, args) => {
      if (program !== "mkfs.ext4") return await runCommand(program, args);
      writeFileSync(args.at(-1) ?? "", "half");
      return { code: null, stdout: "", stderr: "killed" };
    };
    await expect((await imageIn(rig, { run: killed })).open(KEPT)).rejects.toMatchObject({
      code: "driver.failed",
    });
    const image = await imageIn(rig);
    expect(existsSync(image.path)).toBe(false);
    await image.open(KEPT);
    await image.close();
    const files = (await rig.left()).filter((name) => !name.startsWith("mount"));
    expect(files).toEqual(["scratch/s1.img"]);
    await image.remove();
  });

  it("is checked when its host died over it, and only then; what was stored is there", async () => {
    await using rig = await openWorkspacesRig();
    const { programs, run } = recorded();
    const image = await imageIn(rig, { run });
    await image.open(KEPT);
    writeFileSync(join(image.folder, "note"), "stored");
    await mustRun(runCommand, "sync", ["--file-system", image.folder]);
    // What a host that loses power leaves: the image as it is while it is mounted.
    copyFileSync(image.path, join(rig.dataDir, "crashed.img"));
    await image.close();
    copyFileSync(join(rig.dataDir, "crashed.img"), image.path);
    expect(readState(image.path)).toBe("unclean");
    programs.length = 0;
    await image.open(KEPT);
    expect(programs).toEqual(["e2fsck", "mount"]);
    expect(readFileSync(join(image.folder, "note"), "utf8")).toBe("stored");
    await image.close();
    expect(readState(image.path)).toBe("clean");
    await image.remove();
  });

  it("that is damaged is repaired, and people are told; what is no filesystem is left alone", async () => {
    await using rig = await openWorkspacesRig();
    const told: object[] = [];
    const log = { ...silentLogger, error: (fields: object) => void told.push(fields) };
    const image = await imageIn(rig, { log });
    await image.open(KEPT);
    writeFileSync(join(image.folder, "note"), "stored");
    await image.close();
    await mustRun(runCommand, "debugfs", ["-w", "-R", "clri <2>", image.path]);
    await mustRun(runCommand, "debugfs", ["-w", "-R", "ssv state 2", image.path]);
    await image.open(KEPT);
    expect(told).toMatchObject([{ image: image.path }]);
    writeFileSync(join(image.folder, "usable"), "");
    await image.close();
    expect(readState(image.path)).toBe("clean");

    const file = openSync(image.path, "r+");
    writeSync(file, Buffer.alloc(64 * 1024));
    closeSync(file);
    const before = readFileSync(image.path);
    await expect(image.open(KEPT)).rejects.toMatchObject({ code: "driver.failed" });
    expect(readFileSync(image.path).equals(before)).toBe(true);
    await image.remove();
  });

  it("is neither mounted again nor removed while a process of another namespace is in it (I2)", async () => {
    await using rig = await openWorkspacesRig();
    const clock = new ManualClock();
    const image = await imageIn(rig, { clock });
    await image.open(KEPT);
    const stay = `cd ${image.folder} && exec sleep 600`;
    const holder = start("unshare", ["--mount", "--propagation", "private", "sh", "-c", stay]);
    const isApart = () => readFileSync(`/proc/${holder.pid}/comm`, "utf8") === "sleep\n";
    await eventually(isApart, { name: "it lives apart" });
    await image.close();
    for (const act of [() => image.open(KEPT), () => image.remove()]) {
      let refusal: unknown;
      act().catch((thrown: unknown) => {
        refusal = thrown;
      });
      const waited = async () => {
        await clock.advance(1_000);
        return refusal !== undefined;
      };
      await eventually(waited, { name: "it was refused" });
      expect(refusal).toMatchObject({ code: "driver.failed" });
      expect(existsSync(image.path)).toBe(true);
    }
    holder.end();
    const free = await imageIn(rig);
    await free.open(KEPT);
    await free.remove();
  });

  it("waits for a program that works on it, also one of a process that is gone (I3)", async () => {
    await using rig = await openWorkspacesRig();
    const image = await imageIn(rig);
    await image.open(KEPT);
    await image.close();
    const holder = start("flock", [image.path, "sleep", "600"]);
    const isHeld = async () =>
      (await runCommand("flock", ["--nonblock", image.path, "true"])).code === 1;
    await eventually(isHeld, { name: "it is held" });
    // The lock is the program's that works, not of what started it.
    process.kill(holder.pid, "SIGKILL");
    const isGone = () => !existsSync(`/proc/${holder.pid}/exe`);
    await eventually(isGone, { name: "what started it is gone" });
    expect(await isHeld()).toBe(true);
    const opening = image.open(KEPT);
    const waits = async () =>
      (await runCommand("pgrep", ["-f", `flock --wait.*${image.path}`])).code === 0;
    await eventually(waits, { name: "the mount waits" });
    expect(image.isMounted()).toBe(false);
    holder.end();
    await opening;
    expect(image.isMounted()).toBe(true);
    await image.remove();
  });

  it("is its worker's alone again when it is opened, whatever a worker made of its root (I4)", async () => {
    await using rig = await openWorkspacesRig();
    const image = await imageIn(rig);
    await image.open(KEPT);
    chmodSync(image.folder, 0o777);
    mkdirSync(join(image.folder, "lost+found"));
    writeFileSync(join(image.folder, "lost+found", "mine"), "");
    await image.close();
    await image.open(KEPT);
    const { mode, uid, gid } = statSync(image.folder);
    expect([mode & 0o7777, uid, gid]).toEqual([0o700, 1000, 1000]);
    expect(existsSync(join(image.folder, "lost+found", "mine"))).toBe(true);
    await image.remove();
  });
});
