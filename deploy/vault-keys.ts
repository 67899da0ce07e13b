/** Where a node has the vault's keys from: a file, its environment, or an external store's command. */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { type KeyEncryptionKey, parseKeys } from "../actors/vault/key-encryption-key.ts";
import type { KeySource } from "../actors/vault/keyring.ts";
import { asBerthError, BerthError } from "../protocols/errors.ts";
import { commandOutput } from "./command-output.ts";
import type { Config } from "./config.ts";
import { makePrivate } from "./nats/auth/private-file.ts";

type VaultConfig = Pick<
  Config,
  "BERTH_DATA" | "BERTH_VAULT_KEY_FILE" | "BERTH_VAULT_KEY" | "BERTH_VAULT_KEY_COMMAND"
>;

const FILE_STALE_MS = 5_000;
const COMMAND_STALE_MS = 300_000;
const COMMAND_MS = 10_000;
/** Hundreds of keys. */
const MAX_BYTES = 64 * 1024;
const OTHERS = 0o077;

/** Undefined: this node is to hold no keys. */
export function keySourceOf(config: VaultConfig): KeySource | undefined {
  const { BERTH_VAULT_KEY: text, BERTH_VAULT_KEY_COMMAND: command } = config;
  if (text !== undefined) {
    const read = () => Promise.resolve().then(() => parseKeys(text, "BERTH_VAULT_KEY"));
    return { staleAfterMs: null, read };
  }
  if (command !== undefined)
    return { staleAfterMs: COMMAND_STALE_MS, read: () => readCommand(command) };
  const made = join(config.BERTH_DATA, "vault.key");
  const file = config.BERTH_VAULT_KEY_FILE ?? (existsSync(made) ? made : undefined);
  if (file === undefined) return undefined;
  return { staleAfterMs: FILE_STALE_MS, read: () => readFileKeys(file) };
}

/** Makes the data folder's key file where no keys are configured; whoever loses it loses what is sealed under it. */
export async function ensureVaultKey(config: VaultConfig): Promise<void> {
  const made = join(config.BERTH_DATA, "vault.key");
  const isEmpty = await stat(made).then(
    ({ size }) => size === 0,
    () => false,
  );
  if (isEmpty) await rm(made, { force: true });
  if (keySourceOf(config) !== undefined) return;
  await mkdir(config.BERTH_DATA, { recursive: true, mode: 0o700 });
  await makePrivate(made, `${newVaultKey()}\n`);
}

/** A line of a key file. */
export function newVaultKey(): string {
  return `vault-${randomBytes(4).toString("hex")}:${randomBytes(32).toString("base64")}`;
}

async function readFileKeys(path: string): Promise<readonly KeyEncryptionKey[]> {
  const refuse = (reason: string, cause?: unknown) =>
    new BerthError("config.invalid", `the vault's key file ${path} ${reason}`, {
      field: "BERTH_VAULT_KEY_FILE",
      cause,
    });
  const facts = await stat(path).catch((cause: unknown) => {
    throw refuse(`cannot be read: ${asBerthError(cause).message}`, cause);
  });
  if (!facts.isFile() || facts.size > MAX_BYTES) throw refuse("is no file that could hold keys");
  if ((facts.mode & OTHERS) !== 0) throw refuse("is open to others: its mode must be 0600");
  return parseKeys(await readFile(path, "utf8"), "BERTH_VAULT_KEY_FILE");
}

/** What the command prints is in no error: it may be keys. */
async function readCommand(command: string): Promise<readonly KeyEncryptionKey[]> {
  const end = await commandOutput(command, { timeoutMs: COMMAND_MS, maxBytes: MAX_BYTES });
  if ("text" in end) return parseKeys(end.text, "BERTH_VAULT_KEY_COMMAND");
  throw new BerthError("config.invalid", `BERTH_VAULT_KEY_COMMAND ${end.failure}`, {
    field: "BERTH_VAULT_KEY_COMMAND",
  });
}
