/**
 * The keys of a deployment's nats-server, as files of one folder that only its owner can read. Invariants:
 * K1 the folder appears whole or not at all: of two first starts one wins, and both use its keys.
 * K2 files are looked at at each use: a key that was replaced counts at once.
 */
import { mkdir, mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { BerthError } from "../../../protocols/errors.ts";
import type { BrokerCredential } from "../../../protocols/executor.ts";
import { type UserRights, userClaims } from "../../../runtime/nats-auth/claims.ts";
import { formatCredsFile, parseCredsFile } from "../../../runtime/nats-auth/credential.ts";
import { signClaims } from "../../../runtime/nats-auth/jwt.ts";
import { Nkey, type NkeyKind } from "../../../runtime/nats-auth/nkey.ts";
import { KeyFile, tryRead } from "./key-file.ts";
import { makePrivate, writePrivate } from "./private-file.ts";

/** What each key is for, and of what kind it is. */
export const KEYS = {
  /** The root: vouches for the operator's signing key, and is used for nothing else. May be kept elsewhere. */
  operator: "operator",
  /** Signs accounts. */
  "operator-signing": "operator",
  system: "account",
  "system-signing": "account",
  platform: "account",
  /** Signs nodes. */
  "platform-signing": "account",
  /** Signs gateways, which have the rights that the platform's account gives to this key. */
  "gateway-signing": "account",
  /** Signs workers: all that a node without the operator's keys needs. */
  issuer: "account",
} as const satisfies Record<string, NkeyKind>;
export type KeyName = keyof typeof KEYS;

/** Ready-made credentials, for people and their tools. */
export const CREDS = { platform: "platform.creds", system: "sys.creds" } as const;

export class OperatorKeys {
  readonly folder: string;
  readonly #files = new Map<string, KeyFile>();

  constructor(folder: string) {
    this.folder = folder;
  }

  /** Throws `config.invalid` when there is no such key. K2. */
  get(name: KeyName): Nkey {
    const found = this.find(name);
    if (found) return found;
    throw new BerthError("config.invalid", `${this.#path(`${name}.nk`)} cannot be read`);
  }

  find(name: KeyName): Nkey | undefined {
    return this.#read(`${name}.nk`);
  }

  /** The key; and while a rotation is under way the one that comes, or the one that goes. */
  all(name: KeyName): [Nkey, ...Nkey[]] {
    const others = ["next", "old"].map((form) => this.#read(`${name}.${form}.nk`));
    const key = this.get(name);
    // For a moment one key may stand in two files.
    const differing = others.filter((other) => other && other.publicKey !== key.publicKey);
    return [key, ...differing.filter((other) => other !== undefined)];
  }

  /** The credential of a ready-made file, as it is now. */
  credential(who: keyof typeof CREDS): BrokerCredential {
    return readCreds(this.#path(CREDS[who]));
  }

  credsPath(who: keyof typeof CREDS): string {
    return this.#path(CREDS[who]);
  }

  #read(file: string): Nkey | undefined {
    const known = this.#files.get(file) ?? new KeyFile(this.#path(file));
    this.#files.set(file, known);
    return known.read();
  }

  #path(file: string): string {
    return join(this.folder, file);
  }
}

/** Reads a .creds file. Throws `config.invalid`, naming the file alone. */
export function readCreds(path: string): BrokerCredential {
  const text = tryRead(path);
  if (text === undefined) throw new BerthError("config.invalid", `${path} cannot be read`);
  return parseCredsFile(text);
}

/** Finds the keys, or makes them (K1). `iat` is the second in which it is done. */
export async function ensureOperatorKeys(folder: string, iat: number): Promise<OperatorKeys> {
  const keys = new OperatorKeys(folder);
  if (await isThere(folder)) {
    await complete(keys);
    return keys;
  }
  await mkdir(dirname(folder), { recursive: true, mode: 0o700 });
  const draft = await mkdtemp(`${folder}.draft-`);
  try {
    const made = new OperatorKeys(draft);
    for (const [name, kind] of Object.entries(KEYS))
      await writePrivate(join(draft, `${name}.nk`), `${Nkey.make(kind).seed}\n`);
    await writeCreds(made, iat);
    await rename(draft, folder);
  } catch (thrown) {
    await rm(draft, { recursive: true, force: true });
    // Another first start was quicker.
    if (!(await isThere(folder))) throw thrown;
  }
  return keys;
}

/** Makes keys that builds before this one did not know, and those whose file a crash left empty. */
async function complete({ folder }: OperatorKeys): Promise<void> {
  for (const [name, kind] of Object.entries(KEYS)) {
    const path = join(folder, `${name}.nk`);
    const text = await readFile(path, "utf8").catch(() => undefined);
    if (text?.trim() === "") await rm(path, { force: true });
    // Another start may do the same now.
    if (!text?.trim()) await makePrivate(path, `${Nkey.make(kind).seed}\n`);
  }
}

/** Makes the ready-made credentials anew, with the newest signing keys. */
export async function writeCreds(keys: OperatorKeys, iat: number): Promise<void> {
  for (const account of ["platform", "system"] as const) {
    const credential = makeUser(keys, account, { name: account, rights: {}, iat });
    await writePrivate(join(keys.folder, CREDS[account]), formatCredsFile(credential));
  }
}

/** A user of the platform's or the system account, of no other rights than the given ones ({}: all of the account's). */
export function makeUser(
  keys: OperatorKeys,
  account: "platform" | "system",
  {
    name,
    rights,
    iat,
  }: { readonly name: string; readonly rights: UserRights; readonly iat: number },
): BrokerCredential {
  const user = Nkey.make("user");
  const claims = userClaims({
    publicKey: user.publicKey,
    name,
    account: keys.get(account).publicKey,
    rights,
  });
  return { jwt: signClaims(claims, keys.get(`${account}-signing`), iat), seed: user.seed };
}

async function isThere(folder: string): Promise<boolean> {
  const probe = await readFile(join(folder, "issuer.nk")).catch(() => undefined);
  return probe !== undefined;
}
