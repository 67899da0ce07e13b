import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readKeyFiles, writeKeyFiles } from "../../../deploy/backup/key-files.ts";
import { openKeys, sealKeys } from "../../../deploy/backup/sealed-keys.ts";
import { ensureOperatorKeys } from "../../../deploy/nats/auth/operator-keys.ts";

const PASSPHRASE = "correct horse battery";

describe("sealed keys", () => {
  const files = { "nats-auth/issuer.nk": "SA-SECRET\n", "vault.key": "vault-1:SECRET\n" };

  it("open with their passphrase alone, and show nothing without it", () => {
    const sealed = sealKeys(files, PASSPHRASE);
    expect(sealed.toString("latin1")).not.toMatch(/SECRET|issuer|vault/);
    expect(openKeys(sealed, PASSPHRASE)).toEqual(files);
    expect(() => openKeys(sealed, "correct horse batterY")).toThrow(
      expect.objectContaining({ code: "backup.invalid" }),
    );
    // The same keys again look like others.
    expect(sealKeys(files, PASSPHRASE).equals(sealed)).toBe(false);
  });

  it("do not open when anything of them was changed, or with a passphrase that anybody guesses", () => {
    const sealed = sealKeys(files, PASSPHRASE);
    for (const at of [0, 12, 30, 45, sealed.length - 1]) {
      const bad = Buffer.from(sealed);
      bad[at] = (bad[at] ?? 0) ^ 1;
      expect(() => openKeys(bad, PASSPHRASE)).toThrow(/do not open/);
    }
    expect(() => openKeys(sealed.subarray(0, 40), PASSPHRASE)).toThrow(/do not open/);
    expect(() => sealKeys(files, "short")).toThrow(/at least 12/);
  });
});

describe("key files", () => {
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "berth-keys-"));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));
  const at = (name: string) => ({
    BERTH_DATA: join(root, name),
    BERTH_NATS_AUTH: undefined,
    BERTH_VAULT_KEY_FILE: undefined,
    BERTH_VAULT_KEY: undefined,
  });

  it("are found and put in their places, which only their owner reads", async () => {
    const from = await ensureOperatorKeys(join(root, "a", "nats-auth"), 1);
    await writeFile(join(root, "a", "vault.key"), "vault-1:x\n", { mode: 0o600 });
    const files = await readKeyFiles(at("a"));
    expect(Object.keys(files)).toContain("nats-auth/platform.creds");
    await writeKeyFiles(at("b"), files);
    const { folder } = from;
    for (const name of await readdir(folder))
      expect(await readFile(join(root, "b", "nats-auth", name), "utf8")).toBe(
        await readFile(join(folder, name), "utf8"),
      );
    expect((await stat(join(root, "b", "vault.key"))).mode & 0o777).toBe(0o600);
    // Once more changes nothing.
    await writeKeyFiles(at("b"), files);
  });

  it("replace none that differ, and can be taken back", async () => {
    await ensureOperatorKeys(join(root, "a", "nats-auth"), 1);
    await ensureOperatorKeys(join(root, "b", "nats-auth"), 1);
    const files = await readKeyFiles(at("a"));
    const before = await readKeyFiles(at("b"));
    await expect(writeKeyFiles(at("b"), { ...files, "vault.key": "vault-1:x\n" })).rejects.toThrow(
      expect.objectContaining({ code: "backup.not_empty" }),
    );
    expect(await readKeyFiles(at("b"))).toEqual(before);
    const takeBack = await writeKeyFiles(at("c"), files);
    await takeBack();
    await expect(readKeyFiles(at("c"))).rejects.toMatchObject({ code: "config.invalid" });
  });
});
