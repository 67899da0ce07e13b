/** `berth backup` as its configuration has it: a broker that runs elsewhere is saved, one of a data folder is made and filled. */
import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { backupCommands } from "../../../deploy/backup/commands.ts";
import { loadConfig } from "../../../deploy/config.ts";
import { startBroker } from "../../../deploy/own-broker.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { connectNats } from "../../../runtime/nats/transport.ts";
import { type BackupRig, backupRig } from "../../support/backup-rig.ts";
import { freePort } from "../../support/free-port.ts";
import { type OperatorNats, startOperatorNats } from "../../support/nats.ts";

const CACHE = new URL("../../../.berth/cache", import.meta.url).pathname;
const quietly = { say: () => {}, signal: new AbortController().signal };
const topology = { replicas: 1, partitions: 2, mailboxCapacity: 10, journalRetentionMs: 3_600_000 };
const common = { name: "test", clock: systemClock, logger: silentLogger };

let rig: BackupRig;
let nats: OperatorNats;
let passphraseFile: string;
beforeAll(async () => {
  rig = await backupRig();
  nats = await startOperatorNats();
  const { url, broker } = nats;
  const transport = await connectNats({ ...common, url, credential: broker.credential, topology });
  await transport.buckets.put("tenants", "acme", new TextEncoder().encode("{}"));
  await transport.close();
  passphraseFile = join(rig.root, "passphrase");
  await writeFile(passphraseFile, "correct horse battery\n", { mode: 0o600 });
});
afterAll(async () => {
  await nats?.[Symbol.asyncDispose]();
  await rig?.[Symbol.asyncDispose]();
});

const external = (extra: Record<string, string> = {}) =>
  backupCommands(
    loadConfig({
      BERTH_NATS_URL: nats.url,
      BERTH_NATS_AUTH: nats.keys.folder,
      BERTH_DATA: join(rig.root, "nothing"),
      ...extra,
    }),
  );
const own = async (name: string) =>
  loadConfig({
    BERTH_DATA: join(rig.root, name),
    BERTH_CACHE: CACHE,
    BERTH_NATS_PORT: String(await freePort("own")),
  });

describe("berth backup", () => {
  test("saves with keys, and puts all of it into an empty data folder, where it is used from then on", async () => {
    const folder = rig.folder("with-keys");
    const create = { ...quietly, folder, maxHoldMs: 10_000, passphraseFile };
    const { manifest } = await external().create(create);
    expect(manifest.keys).toBeDefined();
    await external().verify({ ...quietly, folder });
    const config = await own("new");
    const restore = { ...quietly, folder, passphraseFile, keysOnly: false };
    await backupCommands(config).restore(restore);
    const issuer = join(config.BERTH_DATA, "nats-auth", "issuer.nk");
    expect(await readFile(issuer, "utf8")).toBe(
      await readFile(join(nats.keys.folder, "issuer.nk"), "utf8"),
    );
    const undo: (() => Promise<void>)[] = [];
    const broker = await startBroker(config, { logger: silentLogger, print: () => {}, undo });
    try {
      // Who was let in by the old keys still is.
      const { url } = broker;
      const { credential } = nats.broker;
      const transport = await connectNats({ ...common, url, credential, topology: "existing" });
      expect((await transport.buckets.list("tenants", "")).map(({ key }) => key)).toEqual(["acme"]);
      expect(transport.partitions).toBe(2);
      const trail = await transport.audit.read("berth-platform", 1, 10);
      expect(trail.map(({ entry }) => [entry.act, entry.outcome])).toEqual([
        ["backup.create", "allowed"],
        ["backup.restore", "allowed"],
      ]);
      await transport.close();
    } finally {
      for (const step of undo) await step();
    }
    await expect(backupCommands(config).restore(restore)).rejects.toMatchObject({
      code: "backup.not_empty",
    });
  });

  test("puts back keys alone, and takes them away again when the rest fails", async () => {
    const folder = rig.folder("with-keys");
    const restore = { ...quietly, folder, passphraseFile };
    const config = await own("keys");
    await backupCommands(config).restore({ ...restore, keysOnly: true });
    expect((await stat(join(config.BERTH_DATA, "nats-auth", "operator.nk"))).mode & 0o777).toBe(
      0o600,
    );
    const failing = await own("failing");
    const stream = "KV_nothing";
    await expect(
      backupCommands(failing).restore({ ...restore, stream, keysOnly: false }),
    ).rejects.toThrow(/holds no stream/);
    await expect(stat(join(failing.BERTH_DATA, "nats-auth", "operator.nk"))).rejects.toThrow(
      /ENOENT/,
    );
  });

  test("tells at once, before anything stands still, of a passphrase that others can read, and of keys that are not there", async () => {
    const open = join(rig.root, "open");
    await writeFile(open, "correct horse battery\n", { mode: 0o644 });
    const create = { ...quietly, folder: rig.folder("never"), maxHoldMs: 10_000 };
    await expect(external().create({ ...create, passphraseFile: open })).rejects.toThrow(/0600/);
    await mkdir(join(rig.root, "bare"));
    const bare = external({
      BERTH_NATS_AUTH: "",
      BERTH_NATS_CREDS: nats.keys.credsPath("platform"),
    });
    await expect(bare.create({ ...create, passphraseFile })).rejects.toThrow(/no keys are in/);
    const { manifest } = await bare.create({ ...create, folder: rig.folder("bare/backup") });
    expect(manifest.keys).toBeUndefined();
    const folder = rig.folder("bare/backup");
    await expect(
      bare.restore({ ...quietly, folder, passphraseFile, keysOnly: true }),
    ).rejects.toThrow(/holds no keys/);
  });
});
