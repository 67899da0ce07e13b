import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { describeConfig, loadConfig } from "../../../deploy/config.ts";
import { ensureVaultKey, keySourceOf, newVaultKey } from "../../../deploy/vault-keys.ts";

describe("the vault's keys of a node", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "berth-vault-"));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true, force: true });
  });
  const source = (more: Record<string, string> = {}) =>
    keySourceOf(loadConfig({ BERTH_DATA: folder, ...more }));
  const ids = async (more: Record<string, string> = {}) =>
    (await source(more)?.read())?.map(({ id }) => id);
  const write = async (...lines: string[]) => {
    const path = join(folder, "keys");
    await writeFile(path, lines.join("\n"), { mode: 0o600 });
    return path;
  };

  it("are none unless somebody said where they are", () => {
    expect(source()).toBeUndefined();
  });

  it("are made once, in a file that nobody else can read, and stay the same", async () => {
    await ensureVaultKey(loadConfig({ BERTH_DATA: folder }));
    const path = join(folder, "vault.key");
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const text = await readFile(path, "utf8");
    await ensureVaultKey(loadConfig({ BERTH_DATA: folder }));
    expect(await readFile(path, "utf8")).toBe(text);
    expect(await ids()).toEqual([text.split(":")[0]]);
  });

  it("are made in one step: of many starts at once one makes them, whole", async () => {
    const config = loadConfig({ BERTH_DATA: folder });
    const starts = Array.from({ length: 20 }, async () => {
      await ensureVaultKey(config);
      return await ids();
    });
    const seen = await Promise.all(starts);
    expect(new Set(seen.map(String)).size).toBe(1);
    expect(await readdir(folder)).toEqual(["vault.key"]);
  });

  it("are made for an empty file, which protects nothing", async () => {
    await writeFile(join(folder, "vault.key"), "", { mode: 0o600 });
    await ensureVaultKey(loadConfig({ BERTH_DATA: folder }));
    expect(await ids()).toHaveLength(1);
  });

  it("are not made where others are configured", async () => {
    await ensureVaultKey(loadConfig({ BERTH_DATA: folder, BERTH_VAULT_KEY: newVaultKey() }));
    expect(source()).toBeUndefined();
  });

  it("come from a file, in its order, as it is at each reading", async () => {
    const [a, b] = [newVaultKey(), newVaultKey()];
    const path = await write(a, b);
    expect(await ids({ BERTH_VAULT_KEY_FILE: path })).toEqual([a.split(":")[0], b.split(":")[0]]);
    const keys = source({ BERTH_VAULT_KEY_FILE: path });
    await write(b);
    expect((await keys?.read())?.map(({ id }) => id)).toEqual([b.split(":")[0]]);
  });

  it.each([0o640, 0o604, 0o660])("a file of mode %o is refused", async (mode) => {
    const path = await write(newVaultKey());
    await chmod(path, mode);
    await expect(ids({ BERTH_VAULT_KEY_FILE: path })).rejects.toMatchObject({
      code: "config.invalid",
      message: expect.stringContaining("0600"),
    });
  });

  it("a file that is missing, a folder, or too large is refused", async () => {
    for (const path of [join(folder, "none"), folder, await write("x".repeat(70_000))])
      await expect(ids({ BERTH_VAULT_KEY_FILE: path })).rejects.toMatchObject({
        code: "config.invalid",
      });
  });

  it("come from the environment, several of them too", async () => {
    const keys = [newVaultKey(), newVaultKey()];
    expect(await ids({ BERTH_VAULT_KEY: keys.join(",") })).toHaveLength(2);
  });

  it("come from a command's output", async () => {
    const path = await write(newVaultKey());
    expect(await ids({ BERTH_VAULT_KEY_COMMAND: `cat ${path}` })).toHaveLength(1);
  });

  it("a command that fails, prints too much or prints no keys is refused, without what it printed", async () => {
    for (const command of [
      "echo top-secret; echo top-secret >&2; exit 3",
      "yes top-secret | head -c 100000",
      "echo top-secret",
    ]) {
      const failure = await ids({ BERTH_VAULT_KEY_COMMAND: command }).catch(
        (error: Error) => error,
      );
      expect(failure).toMatchObject({ code: "config.invalid" });
      expect((failure as Error).message).not.toContain("top-secret");
    }
  });

  it("are said in one place only, and shown nowhere", () => {
    const two = { BERTH_VAULT_KEY: newVaultKey(), BERTH_VAULT_KEY_FILE: "/x" };
    expect(() => loadConfig(two)).toThrow(/only one of/);
    const { BERTH_VAULT_KEY } = two;
    const shown = JSON.stringify(describeConfig(loadConfig({ BERTH_VAULT_KEY })));
    expect(shown).not.toContain(BERTH_VAULT_KEY);
  });
});
