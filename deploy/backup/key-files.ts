/**
 * The files that hold a deployment's keys: the broker's folder and the vault's file. Invariants:
 * KF1 No file that is there is replaced: one that differs is an error, before any is written.
 * KF2 Files are written with mode 0600; what was written can be taken back.
 */
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { BerthError } from "../../protocols/errors.ts";
import { authFolder } from "../broker.ts";
import type { Config } from "../config.ts";
import { makePrivate } from "../nats/auth/private-file.ts";
import type { KeyFiles } from "./sealed-keys.ts";

const KEY_FILE = /\.(?:nk|creds)$/;
const VAULT = "vault.key";
const AUTH = "nats-auth/";

type Places = Pick<
  Config,
  "BERTH_DATA" | "BERTH_NATS_AUTH" | "BERTH_VAULT_KEY_FILE" | "BERTH_VAULT_KEY"
>;

const folderOf = (config: Places) => config.BERTH_NATS_AUTH ?? authFolder(config.BERTH_DATA);
const vaultOf = (config: Places) => config.BERTH_VAULT_KEY_FILE ?? join(config.BERTH_DATA, VAULT);

/** Keys that a command prints are not among them: their store has its own backup. */
export async function readKeyFiles(config: Places): Promise<KeyFiles> {
  const folder = folderOf(config);
  const files: KeyFiles = {};
  for (const name of await readdir(folder).catch(() => []))
    if (KEY_FILE.test(name)) files[`${AUTH}${name}`] = await readFile(join(folder, name), "utf8");
  const vault = config.BERTH_VAULT_KEY ?? (await read(vaultOf(config)));
  if (vault !== undefined) files[VAULT] = vault;
  if (Object.keys(files).length > 0) return files;
  throw new BerthError("config.invalid", `no keys are in ${folder} or ${vaultOf(config)}`);
}

/** Resolves with what takes them back. */
export async function writeKeyFiles(config: Places, files: KeyFiles): Promise<() => Promise<void>> {
  const targets = Object.entries(files).map(([name, text]) => ({
    path: name === VAULT ? vaultOf(config) : join(folderOf(config), name.slice(AUTH.length)),
    text,
  }));
  const missing = [];
  for (const target of targets) {
    const there = await read(target.path);
    if (there === undefined) missing.push(target);
    else if (there !== target.text) {
      const message = `${target.path} is there and holds another key`;
      throw new BerthError("backup.not_empty", message);
    }
  }
  const written: string[] = [];
  const takeBack = async () => {
    for (const path of written) await rm(path, { force: true });
  };
  try {
    for (const { path, text } of missing) {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      await makePrivate(path, text);
      written.push(path);
    }
  } catch (thrown) {
    await takeBack();
    throw thrown;
  }
  return takeBack;
}

async function read(path: string): Promise<string | undefined> {
  return await readFile(path, "utf8").catch(() => undefined);
}
