/**
 * Our process dies between any two steps, and the next one finds what is left. L1 to L6 stand in
 * executor/drivers/docker/loop-workspaces.ts.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { mustRun, type RunCommand, runCommand } from "../../../executor/drivers/docker/command.ts";
import type { Workspaces } from "../../../executor/drivers/docker/workspaces.ts";
import { describeDocker } from "../../support/docker.ts";
import {
  MIB,
  openWorkspacesRig,
  specOf,
  type WorkspacesRig,
} from "../../support/workspaces-rig.ts";

const SIZE = 32 * MIB;
const USER = { mode: "user", storageBytes: SIZE } as const;
const JOB = { mode: "job", storageBytes: SIZE } as const;

type Moment = "before" | "after";

interface Life {
  readonly run: RunCommand;
  /** Resolves with "dead" when it has died, and what it had started before has ended: no process starts faster than that. */
  readonly end: Promise<"dead">;
  steps(): number;
}

/** A process that dies at its step of that number: nothing that it waits for ever comes back, and it does nothing more. */
function lifeUntil(last: number, moment: Moment): Life {
  let steps = 0;
  let die: (end: "dead") => void = () => {};
  const end = new Promise<"dead">((resolve) => {
    die = resolve;
  });
  const never = new Promise<never>(() => {});
  const started: Promise<unknown>[] = [];
  return {
    end,
    steps: () => steps,
    async run(program, args) {
      steps += 1;
      const isDead = steps > last || (steps === last && moment === "before");
      const running = isDead ? never : runCommand(program, args);
      if (!isDead) started.push(running);
      if (steps < last) return await running;
      if (steps === last) void Promise.all(started).then(() => die("dead"));
      return await never;
    },
  };
}

/** What a process has done so far, as others would know. */
interface Story {
  hasWritten: boolean;
  isRemoving: boolean;
}

async function live(rig: WorkspacesRig, run: RunCommand, story: Story): Promise<"alive"> {
  const workspaces = await rig.open(run);
  await workspaces.openSlot("s1", JOB);
  for (const slot of ["s2", "s3"]) {
    await workspaces.openSlot(slot, USER);
    await workspaces.bind(slot, specOf({ storage_bytes: SIZE }));
  }
  writeFileSync(join(rig.root, "slots/s2/workspace/note"), "kept");
  story.hasWritten = true;
  for (const slot of ["s1", "s2", "s3"]) await workspaces.closeSlot(slot);
  await workspaces.openSlot("s4", USER);
  await workspaces.bind("s4", specOf({ storage_bytes: 2 * SIZE }));
  await workspaces.closeSlot("s4");
  story.isRemoving = true;
  await workspaces.remove("acme", "ann");
  return "alive";
}

async function expectNote(rig: WorkspacesRig, workspaces: Workspaces): Promise<void> {
  await workspaces.openSlot("reader", USER);
  await workspaces.bind("reader", specOf({ storage_bytes: SIZE }));
  expect(readFileSync(join(rig.root, "slots/reader/workspace/note"), "utf8")).toBe("kept");
}

describeDocker("workspaces whose process was killed", () => {
  it("are found and closed by the next one, with what they keep, whichever step was the last", async () => {
    await using rig = await openWorkspacesRig();
    const whole = lifeUntil(Number.POSITIVE_INFINITY, "after");
    expect(await live(rig, whole.run, { hasWritten: false, isRemoving: false })).toBe("alive");
    await rig.clear(await rig.open());
    expect(whole.steps()).toBeGreaterThan(15);
    for (let last = 1; last <= whole.steps(); last += 1) {
      for (const moment of ["before", "after"] as const) {
        const life = lifeUntil(last, moment);
        const story = { hasWritten: false, isRemoving: false };
        const end = await Promise.race([live(rig, life.run, story), life.end]);
        expect(end, `${moment} step ${last}`).toBe("dead");
        const next = await rig.open();
        const slots = await next.slots();
        for (const slot of slots) await next.closeSlot(slot);
        const mounts = (await rig.left()).filter((name) => !name.startsWith("volumes/"));
        expect(mounts, `${moment} step ${last}`).toEqual([`mount ${rig.root}`]);
        for (const slot of slots) await next.closeSlot(slot);
        if (story.hasWritten && !story.isRemoving) await expectNote(rig, next);
        await rig.clear(next);
        expect(await rig.left(), `${moment} step ${last}`).toEqual([]);
        expect(await rig.volumes()).toEqual([]);
      }
    }
  }, 180_000);

  it("are found also when many were being bound and closed at once", async () => {
    await using rig = await openWorkspacesRig();
    const run = async (workspaces: Workspaces, i: number) => {
      const mode = i % 3 === 0 ? "job" : "user";
      await workspaces.openSlot(`s${i}`, { mode, storageBytes: SIZE });
      const key = { workspace_key: `k${i % 2}`, storage_bytes: SIZE };
      await workspaces.bind(`s${i}`, specOf({ workspace: mode, ...key }));
      await workspaces.closeSlot(`s${i}`);
    };
    for (let last = 4; last <= 32; last += 4) {
      const life = lifeUntil(last, "after");
      const all = rig
        .open(life.run)
        .then((workspaces) => Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map((i) => run(workspaces, i))));
      expect(await Promise.race([all, life.end]), `step ${last}`).toBe("dead");
      await rig.clear(await rig.open());
      expect(await rig.left(), `step ${last}`).toEqual([]);
    }
  });

  it("go on in their containers, and stay bound to the slots that they had", async () => {
    await using rig = await openWorkspacesRig();
    const before = await rig.open();
    const container = await rig.container(await before.openSlot("s1", USER));
    await before.bind("s1", specOf());
    await container.sh("echo kept > /berth/workspace/note");
    const after = await rig.open();
    expect(await after.slots()).toEqual(["s1"]);
    expect(await after.isUsed("acme", "ann")).toBe(true);
    await expect(after.remove("acme", "ann")).rejects.toMatchObject({ code: "driver.failed" });
    await after.bind("s1", specOf());
    expect((await container.sh("cat /berth/workspace/note")).output).toBe("kept");
    await after.openSlot("s2", USER);
    await after.bind("s2", specOf());
    expect(existsSync(join(rig.root, "slots/s2/workspace/note"))).toBe(true);
    // Of the container that lives, nothing is lost when the host's half is asked to go early.
    await after.dispose();
    expect((await container.sh("cat /berth/workspace/note")).output).toBe("kept");
  });

  it("are let go when nothing tells any more who had them", async () => {
    await using rig = await openWorkspacesRig();
    const workspaces = await rig.open();
    await workspaces.openSlot("s1", USER);
    await workspaces.bind("s1", specOf());
    const slot = join(rig.root, "slots/s1");
    await mustRun(runCommand, "umount", [join(slot, "workspace")]);
    rmSync(`${slot}.json`);
    rmSync(slot, { recursive: true });
    await rig.open();
    const left = (await rig.left()).filter((name) => !name.startsWith("volumes/"));
    expect(left).toEqual([`mount ${rig.root}`]);
  });

  it("are closed also when the slot's record was lost with it", async () => {
    await using rig = await openWorkspacesRig();
    const workspaces = await rig.open();
    await workspaces.openSlot("s1", USER);
    await workspaces.bind("s1", specOf());
    writeFileSync(join(rig.root, "slots/s1.json"), "{");
    const next = await rig.open();
    expect(await next.slots()).toEqual(["s1"]);
    await next.closeSlot("s1");
    const left = (await rig.left()).filter((name) => !name.startsWith("volumes/"));
    expect(left).toEqual([`mount ${rig.root}`]);
  });
});
