/** Backups that are damaged, broken off or put where they must not be: each is told, and nothing is left of it. */
import {
  appendFile,
  chmod,
  mkdir,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { verifyBackup } from "../../../deploy/backup/verification.ts";
import { runCommand } from "../../../deploy/nats/command.ts";
import { BerthError } from "../../../protocols/errors.ts";
import { HOLD_KEY } from "../../../protocols/records.ts";
import { STREAMS } from "../../../protocols/subjects.ts";
import type { Snapshots } from "../../../runtime/nats/snapshots.ts";
import { startTestCluster } from "../../../runtime/testkit/cluster.ts";
import { Probe, probe } from "../../support/actors.ts";
import { type BackupRig, backupRig } from "../../support/backup-rig.ts";
import { type Cluster, startCluster } from "../../support/cluster.ts";
import { eventually } from "../../support/eventually.ts";
import { startNats, type TestNats } from "../../support/nats.ts";

const definitions = [probe()];
const signal = new AbortController().signal;
const quietly = { say: () => {}, signal };

let rig: BackupRig;
let cluster: Cluster;
beforeAll(async () => {
  rig = await backupRig();
  cluster = await startCluster({ definitions, nodes: 1, on: "nats" });
  for (let n = 0; n < 30; n += 1) await at(`a${n}`).add({ n });
  await rig.create(cluster.nats, "good");
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
  await rig?.[Symbol.asyncDispose]();
});

const at = (key: string) => cluster.client.actor(Probe, "acme", key);
const leftBehind = async () => (await readdir(rig.root)).filter((name) => name.includes("draft"));
const goesOn = async () => {
  expect((await at("a1").add({ n: 0 }, { timeoutMs: 20_000 })).total).toBe(1);
  expect(await cluster.transport.buckets.get("partitions", HOLD_KEY)).toBeUndefined();
};

describe("a backup", () => {
  test("is its owner's alone, and says what is in it", async () => {
    const manifest = await verifyBackup(rig.folder("good"), quietly);
    const actors = manifest.streams.find(({ name }) => name === "KV_berth-actors");
    expect(actors?.state.messages).toBe(30);
    expect(manifest.streams.map(({ name }) => name)).not.toContain("KV_berth-nodes");
    const modes = await Promise.all(
      (await readdir(rig.folder("good"))).map(
        async (name) => (await stat(join(rig.folder("good"), name))).mode & 0o777,
      ),
    );
    expect(new Set(modes)).toEqual(new Set([0o600]));
    expect((await stat(rig.folder("good"))).mode & 0o777).toBe(0o700);
    const checked = await runCommand("sha256sum", ["-c", "SHA256SUMS"], {
      ...{ cwd: rig.folder("good"), timeoutMs: 5_000 },
    });
    expect(checked).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("manifest.json: OK"),
    });
    expect(await leftBehind()).toEqual([]);
  });

  test("replaces none that is there", async () => {
    await expect(rig.create(cluster.nats, "good")).rejects.toMatchObject({
      code: "backup.unwritable",
    });
    await goesOn();
  });

  test.each(["KV_berth-actors.s2", "BERTH_JOURNAL.s2", "manifest.json", "SHA256SUMS"])(
    "of which one byte of %s was changed, some were cut off or added, or that misses it is not whole",
    async (file) => {
      const folder = rig.folder("good");
      const path = join(folder, file);
      const good = await readFile(path);
      try {
        for (const at of [0, good.length >> 1, good.length - 2]) {
          const bad = Buffer.from(good);
          bad[at] = (bad[at] ?? 0) ^ 0x10;
          await writeFile(path, bad);
          await expectInvalid(folder, `byte ${at}`);
        }
        await writeFile(path, good);
        await truncate(path, good.length - 3);
        await expectInvalid(folder, "cut off");
        await writeFile(path, good);
        await appendFile(path, "more");
        await expectInvalid(folder, "added");
        await rm(path);
        await expectInvalid(folder, "missing");
      } finally {
        await writeFile(path, good);
        await chmod(path, 0o600);
      }
      await verifyBackup(folder, quietly);
    },
  );

  test("on a disk that is full says so, and leaves nothing", async () => {
    const small = join(rig.root, "small");
    await mkdir(small);
    const mounted = await runCommand(
      "mount",
      ["-t", "tmpfs", "-o", "size=16k", "berth-test", small],
      {
        timeoutMs: 5_000,
      },
    );
    expect(mounted.code, mounted.stderr).toBe(0);
    try {
      const failing = rig.create(cluster.nats, "small/backup");
      await expect(failing).rejects.toMatchObject({ code: "backup.unwritable" });
      await expect(rig.create(cluster.nats, "small/backup")).rejects.toThrow(/no space is left/);
      expect(await readdir(small)).toEqual([]);
    } finally {
      await runCommand("umount", [small], { timeoutMs: 5_000 });
    }
    await goesOn();
  });

  test("that is broken off leaves nothing, and actors go on", async () => {
    const asked = new AbortController();
    const say = (line: string) => line.startsWith(STREAMS.mail) && asked.abort();
    await expect(rig.create(cluster.nats, "never", { say, signal: asked.signal })).rejects.toThrow(
      /abort/i,
    );
    expect(await leftBehind()).toEqual([]);
    expect(await readdir(rig.root)).not.toContain("never");
    await goesOn();
  });

  test("that takes too long, or during which somebody writes records, is none", async () => {
    await expect(rig.create(cluster.nats, "never", { maxHoldMs: 1 })).rejects.toMatchObject({
      code: "backup.not_quiet",
    });
    await goesOn();
    // As a stale owner does that has not seen the hold.
    const wrap = (inner: Snapshots): Snapshots => ({
      ...inner,
      async save(stream, options) {
        const saved = await inner.save(stream, options);
        if (stream === STREAMS.mail)
          await cluster.transport.buckets.put(
            "actors",
            "0.acme.probe.stale",
            new Uint8Array([123]),
          );
        return saved;
      },
    });
    await expect(rig.create(cluster.nats, "never", { wrap })).rejects.toThrow(/a node wrote/);
    expect(await readdir(rig.root)).not.toContain("never");
    await goesOn();
  });

  test("whose broker goes away on the way says so in time", async () => {
    await using broken: Cluster = await startCluster({ definitions, nodes: 1, on: "nats" });
    await broken.client.actor(Probe, "acme", "a").add({ n: 1 });
    let isKilled = false;
    const say = (line: string) => {
      if (isKilled || !line.startsWith(STREAMS.mail)) return;
      isKilled = true;
      void broken.nats.kill();
    };
    await expect(rig.create(broken.nats, "never", { say })).rejects.toMatchObject({
      code: expect.stringMatching(/^(broker\.unavailable|backup\.not_quiet)$/),
    });
    expect(await leftBehind()).toEqual([]);
    await broken.nats.restart();
    const again = await broken.client
      .actor(Probe, "acme", "a")
      .add({ n: 1 }, { timeoutMs: 40_000 });
    expect(again.total).toBe(2);
  });
});

async function expectInvalid(folder: string, what: string): Promise<void> {
  const failed: unknown = await verifyBackup(folder, quietly).catch((thrown: unknown) => thrown);
  expect(failed, what).toMatchObject({ code: "backup.invalid" });
}

describe("a restore", () => {
  const streams = async (nats: TestNats) => {
    await using other = await startTestCluster({ definitions, nodes: 0, url: nats.url });
    return await other.transport.buckets.list("actors", "");
  };

  test("is refused by a broker on which nodes run, by one with data, and by an older server", async () => {
    await expect(rig.restore("good", cluster.nats)).rejects.toThrow(/nodes run on this broker: n1/);
    await using nats: TestNats = await startNats();
    await rig.restore("good", nats);
    await expect(rig.restore("good", nats)).rejects.toThrow(/KV_berth-actors \(30\)/);
    await using empty: TestNats = await startNats();
    await expect(rig.restore("good", empty, { serverVersion: "2.12.1" })).rejects.toMatchObject({
      code: "backup.invalid",
    });
  });

  test("of one stream takes only one that is missing", async () => {
    await using nats: TestNats = await startNats();
    await rig.restore("good", nats, { stream: STREAMS.deadLetters });
    await expect(rig.restore("good", nats, { stream: STREAMS.deadLetters })).rejects.toMatchObject({
      code: "backup.not_empty",
    });
    await rig.restore("good", nats, { stream: "KV_berth-actors" });
    expect(await streams(nats)).toHaveLength(30);
    await expect(rig.restore("good", nats, { stream: "KV_nothing" })).rejects.toThrow(
      /holds no stream/,
    );
  });

  test("of a damaged backup, or one that is broken off, leaves the broker as empty as it was", async () => {
    await using nats: TestNats = await startNats();
    const asked = new AbortController();
    const say = (line: string) => line.startsWith("KV_berth-actors") && asked.abort();
    await expect(rig.restore("good", nats, { say, signal: asked.signal })).rejects.toThrow(
      /abort/i,
    );
    const path = join(rig.folder("good"), "KV_berth-tenants.s2");
    const good = await readFile(path);
    await writeFile(path, good.subarray(1));
    await expect(rig.restore("good", nats)).rejects.toMatchObject({ code: "backup.invalid" });
    await writeFile(path, good);
    let loads = 0;
    const wrap = (inner: Snapshots): Snapshots => ({
      ...inner,
      load: (facts, options) => {
        loads += 1;
        if (loads < 5) return inner.load(facts, options);
        return Promise.reject(new Error("the connection broke"));
      },
    });
    await expect(rig.restore("good", nats, { wrap })).rejects.toThrow("the connection broke");
    const left: string[] = [];
    await rig.restore("good", nats, {
      wrap: (inner) => ({
        ...inner,
        async list(prefixes) {
          const found = await inner.list(prefixes);
          left.push(...found.map(({ name }) => name));
          return found;
        },
      }),
    });
    expect(left).toEqual([]);
    expect(await streams(nats)).toHaveLength(30);
  });

  test("sends a stream once more that the broker did not take, and gives up in the end", async () => {
    await using nats: TestNats = await startNats();
    const lost = (times: number) => (inner: Snapshots) =>
      ({
        ...inner,
        load: (facts, options) => {
          if (facts.name !== "KV_berth-keys" || times-- <= 0) return inner.load(facts, options);
          return Promise.reject(new BerthError("broker.unavailable", "no leader"));
        },
      }) satisfies Snapshots;
    await expect(rig.restore("good", nats, { wrap: lost(3) })).rejects.toThrow("no leader");
    const said: string[] = [];
    const say = (line: string) => said.push(line);
    await rig.restore("good", nats, { wrap: lost(2), say });
    expect(said.filter((line) => line.includes("once more"))).toHaveLength(2);
    expect(await streams(nats)).toHaveLength(30);
  });

  test("into which a node starts ends without harm, and can be done again once the node has gone", async () => {
    await using nats: TestNats = await startNats();
    let node: Awaited<ReturnType<typeof startTestCluster>> | undefined;
    const wrap = (inner: Snapshots): Snapshots => ({
      ...inner,
      async load(facts, options) {
        if (facts.name === "BERTH_AUDIT" && !node) {
          node = await startTestCluster({ definitions, nodes: 0, url: nats.url });
          const joining = node.start("early");
          await eventually(
            async () => (await node?.transport.buckets.list("nodes", ""))?.length === 1,
            {
              name: "the node is there",
            },
          );
          await joining;
          expect(node.node("early").partitions()).toEqual([]);
        }
        return await inner.load(facts, options);
      },
    });
    await expect(rig.restore("good", nats, { wrap })).rejects.toMatchObject({
      code: "backup.not_empty",
    });
    await node?.[Symbol.asyncDispose]();
    await rig.restore("good", nats);
    await using restored = await startTestCluster({ definitions, nodes: 1, url: nats.url });
    expect((await restored.client.actor(Probe, "acme", "a7").add({ n: 0 })).total).toBe(7);
  });
});
