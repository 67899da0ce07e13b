/** A key of the vault, by its id: what wraps the keys of credentials, and what opens letters to the vault. */
import { hkdfSync } from "node:crypto";
import { BerthError } from "../../protocols/errors.ts";
import { ID_PATTERN } from "../../protocols/ids.ts";
import { KEY_BYTES } from "../../runtime/sealing/box.ts";
import { type LetterKey, letterKeyFrom } from "../../runtime/sealing/letter.ts";

export interface KeyEncryptionKey {
  readonly id: string;
  readonly wrapping: Uint8Array;
  readonly letters: LetterKey;
}

/** Each use has a key of its own. */
function keyFrom(id: string, secret: Uint8Array): KeyEncryptionKey {
  const derive = (use: string) =>
    Buffer.from(hkdfSync("sha256", secret, "berth vault", use, KEY_BYTES));
  return { id, wrapping: derive("wrap"), letters: letterKeyFrom(derive("letters")) };
}

/**
 * Keys as `<id>:<32 bytes in base64>`, apart by line breaks or commas; lines that begin with `#` are comments. The first
 * one is current. Throws `config.invalid`, naming the entry by its place and never by what stands there.
 */
export function parseKeys(text: string, name: string): readonly KeyEncryptionKey[] {
  const entries = text
    .split(/\r?\n/)
    .filter((line) => !line.trimStart().startsWith("#"))
    .flatMap((line) => line.split(/[\s,]+/))
    .filter((entry) => entry !== "");
  const keys = entries.map((entry, at) => {
    const [id = "", encoded = "", ...rest] = entry.split(":");
    const secret = Buffer.from(encoded, "base64");
    if (rest.length === 0 && ID_PATTERN.test(id) && secret.length === KEY_BYTES)
      return keyFrom(id, secret);
    throw invalid(name, `entry ${at + 1} is not <id>:<32 bytes in base64>`);
  });
  if (keys.length === 0) throw invalid(name, "there is no key");
  if (new Set(keys.map(({ id }) => id)).size < keys.length)
    throw invalid(name, "two keys have one id");
  return keys;
}

function invalid(name: string, reason: string): BerthError {
  return new BerthError("config.invalid", `${name}: ${reason}`, { field: name });
}
