/** What workspaces of containers are decided and remembered by; what they do is in test/integration/docker. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseMountInfo } from "../../../../executor/drivers/docker/mounts.ts";
import { NameLocks } from "../../../../executor/drivers/docker/name-locks.ts";
import { decideState } from "../../../../executor/drivers/docker/superblock.ts";
import { WorkspaceRecords } from "../../../../executor/drivers/docker/workspace-records.ts";
import { workspaceRoot } from "../../../../executor/drivers/docker/workspaces.ts";

describe("the kernel's list of mounts", () => {
  it("is read with peer groups, and with the blanks that it escapes", () => {
    const text = [
      "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard",
      String.raw`43 27 254:0 /a\040b /a\040b\134c rw shared:2 master:1 - ext4 /dev/vda rw`,
      "48 43 7:0 / /a/b rw,nosuid,nodev,noatime master:4 - ext4 /dev/loop0 rw",
      "",
    ].join("\n");
    expect(parseMountInfo(text)).toEqual([
      { id: "27", parent: "1", device: "254:0", target: "/", peerGroup: undefined },
      { id: "43", parent: "27", device: "254:0", target: "/a b\\c", peerGroup: "2" },
      { id: "48", parent: "43", device: "7:0", target: "/a/b", peerGroup: undefined },
    ]);
  });
});

describe("a filesystem's superblock", () => {
  const superblock = (fields: { magic?: number; state?: number; incompat?: number }) => {
    const view = new DataView(new ArrayBuffer(1024));
    view.setUint16(0x38, fields.magic ?? 0xef53, true);
    view.setUint16(0x3a, fields.state ?? 1, true);
    view.setUint32(0x60, fields.incompat ?? 0x2c2, true);
    return new Uint8Array(view.buffer);
  };

  it("is clean only when it was unmounted, has no error and no journal to replay", () => {
    expect(decideState(superblock({}))).toBe("clean");
    expect(decideState(superblock({ state: 0 }))).toBe("unclean");
    expect(decideState(superblock({ state: 3 }))).toBe("unclean");
    expect(decideState(superblock({ incompat: 0x2c6 }))).toBe("unclean");
  });

  it("is foreign without its mark, or when the file ends before it", () => {
    expect(decideState(superblock({ magic: 0 }))).toBe("foreign");
    expect(decideState(superblock({}).subarray(0, 512))).toBe("foreign");
  });
});

describe("a lock by name", () => {
  it("lets one at a time in for each name, in order, and the next after one that failed", async () => {
    const locks = new NameLocks();
    const log: string[] = [];
    const work =
      (id: string, fails = false) =>
      async () => {
        log.push(`${id}+`);
        await Promise.resolve();
        log.push(`${id}-`);
        if (fails) throw new Error(id);
        return id;
      };
    const ends = await Promise.allSettled([
      locks.hold("a", work("a1", true)),
      locks.hold("a", work("a2")),
      locks.hold("b", work("b1")),
      locks.hold("a", work("a3")),
    ]);
    expect(ends.map(({ status }) => status)).toEqual(["rejected", ...Array(3).fill("fulfilled")]);
    const ofA = log.filter((entry) => entry.startsWith("a"));
    expect(ofA).toEqual(["a1+", "a1-", "a2+", "a2-", "a3+", "a3-"]);
    expect(log.indexOf("b1+")).toBeLessThan(log.indexOf("a2+"));
  });
});

describe("records of slots and workspaces", () => {
  let root = "";
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "berth-records-"));
  });
  afterEach(() => rmSync(root, { recursive: true }));
  const ann = { tenant: "acme", key: "ann" };
  const slot = { mode: "user", storage_bytes: 1, workspace: ann } as const;

  it("are found by another process, and by the workspace that a slot is meant to hold", () => {
    const records = new WorkspaceRecords(root);
    records.writeSlot("s1", slot);
    records.writeSlot("s2", { ...slot, workspace: null });
    records.writeWorkspace(ann, { used_at: 7, storage_bytes: 1 });
    const again = new WorkspaceRecords(root);
    expect(again.slots().toSorted()).toEqual(["s1", "s2"]);
    expect(again.slot("s1")).toEqual(slot);
    expect(again.slotsOf(ann)).toEqual(["s1"]);
    expect(again.slotsOf({ tenant: "acme", key: "bob" })).toEqual([]);
    expect(again.workspaces()).toEqual([ann]);
    expect(again.usedAt(ann)).toBe(7);
    again.removeSlot("s1");
    again.removeWorkspace(ann);
    expect([again.slots(), again.workspaces()]).toEqual([["s2"], []]);
  });

  it("that cannot be read stand for what they name, and are removed with all that was half written", () => {
    const records = new WorkspaceRecords(root);
    for (const name of ["s1.json", "s2.json.new"]) writeFileSync(join(root, "slots", name), "{");
    mkdirSync(join(root, "slots", "s3"));
    mkdirSync(join(root, "volumes", "acme"));
    writeFileSync(join(root, "volumes/acme/ann.json.new"), "");
    expect(records.slots().toSorted()).toEqual(["s1", "s2", "s3"]);
    expect(records.slot("s1")).toBeUndefined();
    expect(records.workspaces()).toEqual([ann]);
    for (const name of ["s1", "s2"]) records.removeSlot(name);
    records.removeWorkspace(ann);
    expect([records.slots(), records.workspaces()]).toEqual([["s3"], []]);
  });

  it("refuse names that lead elsewhere", () => {
    const records = new WorkspaceRecords(root);
    const invalid = expect.objectContaining({ code: "id.invalid" });
    for (const name of ["..", "a/b", "", "a.b"]) {
      expect(() => records.slot(name)).toThrow(invalid);
      expect(() => records.imagePath({ tenant: name, key: "ann" })).toThrow(invalid);
      expect(() => records.imagePath({ tenant: "acme", key: name })).toThrow(invalid);
    }
  });
});

describe("a workspace's place in its container", () => {
  it("is under /tmp for what no job keeps, and apart from it for the rest", () => {
    expect(workspaceRoot("job")).toBe("/tmp/berth/workspace");
    expect(workspaceRoot("user")).toBe("/berth/workspace");
    expect(workspaceRoot("tenant")).toBe("/berth/workspace");
  });
});
