import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Container } from "../../../executor/container.ts";
import { decideOutOfMemory, readMemory } from "../../../executor/memory-cgroup.ts";
import type { ProcessEntry } from "../../../executor/process-table.ts";
import { emptyPlaces, parseMounts } from "../../../executor/shared-places.ts";
import { decideStrays } from "../../../executor/strays.ts";
import { parseSystemV } from "../../../executor/system-v.ts";
import { ManualClock } from "../../support/manual-clock.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "berth-container-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const write = (path: string, text: string) => {
  mkdirSync(join(folder, path, ".."), { recursive: true });
  writeFileSync(join(folder, path), text);
};

describe("strays", () => {
  const entry = (pid: number, parent: number): ProcessEntry => ({
    ...{ pid, parent, group: pid, session: pid, startedAt: 100, cpuTicks: 0, memoryBytes: 0 },
  });
  const strays = (table: ProcessEntry[], spared: number[] = [], self = 7) =>
    decideStrays({ table, self, spared: new Set(spared) }).map(({ pid }) => pid);

  it("are all but init, the executor, what stands between them, and the members of other jobs", () => {
    const table = [
      entry(1, 0),
      entry(5, 1),
      entry(7, 5),
      entry(20, 7),
      entry(30, 1),
      entry(31, 30),
    ];
    expect(strays(table)).toEqual([20, 30, 31]);
    expect(strays(table, [20, 31])).toEqual([30]);
  });

  it("are none where the executor is the first process", () => {
    expect(strays([entry(1, 0)], [], 1)).toEqual([]);
    expect(strays([entry(1, 0), entry(9, 1)], [], 1)).toEqual([9]);
  });

  it("are not what came in from outside with its children, as long as these have their parents", () => {
    const table = [entry(1, 0), entry(7, 1), entry(40, 0), entry(41, 40), entry(42, 1)];
    expect(strays(table)).toEqual([42]);
  });

  it("are those too that the executor started when it came in from outside itself, beside another first process", () => {
    const table = [entry(1, 0), entry(7, 0), entry(20, 7), entry(30, 1), entry(40, 0)];
    expect(strays(table)).toEqual([20, 30]);
    expect(strays(table, [20])).toEqual([30]);
  });

  it("are those too whose parent is dead and not waited for, and those that a torn table makes a ring of", () => {
    expect(strays([entry(1, 0), entry(7, 1), entry(50, 49)])).toEqual([50]);
    expect(strays([entry(1, 0), entry(7, 1), entry(60, 61), entry(61, 60)])).toEqual([60, 61]);
  });
});

describe("a container", () => {
  it("is not owned by a process beside which others live", () => {
    const workspace = { root: folder, mode: "job", isolated: true } as const;
    expect(() => Container.own({ workspace, path: "/bin" }, new ManualClock())).toThrow(
      expect.objectContaining({ code: "config.invalid" }),
    );
  });
});

describe("the memory of a control group", () => {
  it("is read in both of the kernel's versions", () => {
    write("v1/memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
    write("v1/memory/memory.limit_in_bytes", "536870912\n");
    write("v2/memory.events", "low 0\nmax 9\noom 4\noom_kill 2\noom_group_kill 0\n");
    write("v2/memory.max", "1073741824\n");
    expect(readMemory(join(folder, "v1"))).toEqual({ oomKills: 3, limitBytes: 512 * 1024 ** 2 });
    expect(readMemory(join(folder, "v2"))).toEqual({ oomKills: 2, limitBytes: 1024 ** 3 });
  });

  it("may have no limit, and may not be told at all", () => {
    write("v1/memory/memory.oom_control", "oom_kill 0\n");
    write("v1/memory/memory.limit_in_bytes", "9223372036854771712\n");
    write("v2/memory.events", "oom_kill 0\n");
    write("v2/memory.max", "max\n");
    write("old/memory/memory.oom_control", "under_oom 0\n");
    write("old/memory/memory.limit_in_bytes", "1\n");
    expect(readMemory(join(folder, "v1"))).toEqual({ oomKills: 0, limitBytes: undefined });
    expect(readMemory(join(folder, "v2"))).toEqual({ oomKills: 0, limitBytes: undefined });
    expect(readMemory(join(folder, "old"))).toBeUndefined();
    expect(readMemory(join(folder, "none"))).toBeUndefined();
  });

  it("ran out when the kernel has ended more processes than before, and only if both counts are known", () => {
    const reading = (oomKills: number) => ({ oomKills, limitBytes: 1 });
    expect(decideOutOfMemory(reading(1), reading(2))).toEqual(reading(2));
    expect(decideOutOfMemory(reading(2), reading(2))).toBeUndefined();
    expect(decideOutOfMemory(undefined, reading(2))).toBeUndefined();
    expect(decideOutOfMemory(reading(2), undefined)).toBeUndefined();
  });
});

describe("shared places", () => {
  it("are emptied of what is ours, whatever its permissions; links in them are not followed, missing places no error", async () => {
    write("kept/file", "");
    write("place/.hidden", "");
    write("place/deep/closed/file", "");
    symlinkSync(join(folder, "kept"), join(folder, "place/link"));
    symlinkSync(join(folder, "kept"), join(folder, "link"));
    await emptyPlaces(["place", "link", "none", "kept/file"].map((name) => join(folder, name)));
    expect(readdirSync(join(folder, "place"))).toEqual([]);
    expect(readdirSync(join(folder, "kept"))).toEqual(["file"]);
  });

  it("hold mounts, whose names the kernel writes with octal numbers", () => {
    const line = "36 35 98:0 /mnt1 /tmp/my\\040mount\\134x rw,noatime master:1 - ext3 /dev/root rw";
    expect(parseMounts(`${line}\n${line.replace("/tmp", "/var")}\n`)).toEqual([
      "/tmp/my mount\\x",
      "/var/my mount\\x",
    ]);
  });
});

it("objects of System V are found by their ids, also where keys are negative", () => {
  const table = `       key      shmid perms                  size  cpid\n -799317832          7   644                  4096    56\n          0      32769  1600                   100    57\n`;
  expect(parseSystemV(table)).toEqual(["7", "32769"]);
  expect(parseSystemV("")).toEqual([]);
});
