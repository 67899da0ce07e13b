/**
 * The keys of a deployment in one sealed file: AES-256-GCM under a key that scrypt makes from a passphrase. Without the passphrase it says
 * nothing but its length.
 */
import { createCipheriv, createDecipheriv, randomBytes, scryptSync } from "node:crypto";
import { z } from "zod";
import { BerthError } from "../../protocols/errors.ts";

const MAGIC = Buffer.from("BERTHKEYS1\n");
const SALT_BYTES = 16;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** 64 MiB and about a tenth of a second for each guess. */
const COST = { N: 2 ** 16, r: 8, p: 1, maxmem: 128 * 1024 ** 2 } as const;
export const MIN_PASSPHRASE = 12;

const filesSchema = z.record(z.string().regex(/^[\w.-]+(?:\/[\w.-]+)?$/), z.string());
/** Texts by their names. */
export type KeyFiles = z.infer<typeof filesSchema>;

export function sealKeys(files: KeyFiles, passphrase: string): Buffer {
  requireLong(passphrase);
  const salt = randomBytes(SALT_BYTES);
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", keyOf(passphrase, salt), nonce);
  cipher.setAAD(MAGIC);
  const text = Buffer.from(JSON.stringify(files));
  const sealed = Buffer.concat([cipher.update(text), cipher.final()]);
  return Buffer.concat([MAGIC, salt, nonce, sealed, cipher.getAuthTag()]);
}

/** Throws `backup.invalid` for another passphrase, and for a file that was changed: nobody can tell which. */
export function openKeys(sealed: Buffer, passphrase: string): KeyFiles {
  const refuse = (cause?: unknown) =>
    new BerthError(
      "backup.invalid",
      "the keys do not open: another passphrase, or a changed file",
      {
        cause,
      },
    );
  const head = MAGIC.length + SALT_BYTES + NONCE_BYTES;
  if (sealed.length < head + TAG_BYTES || !sealed.subarray(0, MAGIC.length).equals(MAGIC))
    throw refuse();
  const salt = sealed.subarray(MAGIC.length, MAGIC.length + SALT_BYTES);
  const nonce = sealed.subarray(MAGIC.length + SALT_BYTES, head);
  try {
    const decipher = createDecipheriv("aes-256-gcm", keyOf(passphrase, salt), nonce);
    decipher.setAAD(MAGIC);
    decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
    const text = Buffer.concat([
      decipher.update(sealed.subarray(head, -TAG_BYTES)),
      decipher.final(),
    ]);
    return filesSchema.parse(JSON.parse(text.toString("utf8")));
  } catch (cause) {
    throw refuse(cause);
  }
}

const keyOf = (passphrase: string, salt: Buffer) => scryptSync(passphrase, salt, 32, COST);

function requireLong(passphrase: string): void {
  if (passphrase.length >= MIN_PASSPHRASE) return;
  throw new BerthError(
    "config.invalid",
    `the passphrase must have at least ${MIN_PASSPHRASE} characters`,
  );
}
