/**
 * A sealed box: AES-256-GCM under one key. Invariants:
 * B1 whatever was changed, cut, or bound to something else does not open; it never opens to something else.
 * B2 a nonce is 96 random bits: a key seals far fewer than 2^32 boxes.
 */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";

const CIPHER = "aes-256-gcm";
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
export const KEY_BYTES = 32;

/** What a box belongs to, in order: it is sealed in, and not stored. */
export type Binding = readonly (string | number)[];

/** Nonce, tag and ciphertext in one. */
export function sealBox(key: Uint8Array, content: Uint8Array, binding: Binding): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(encode(binding));
  const sealed = Buffer.concat([cipher.update(content), cipher.final()]);
  return Buffer.concat([nonce, cipher.getAuthTag(), sealed]);
}

/** Undefined for a box that does not open (B1): nothing tells why, for whoever tampers would learn from it. */
export function openBox(key: Uint8Array, box: Uint8Array, binding: Binding): Buffer | undefined {
  if (key.length !== KEY_BYTES || box.length < NONCE_BYTES + TAG_BYTES) return undefined;
  const head = NONCE_BYTES + TAG_BYTES;
  const options = { authTagLength: TAG_BYTES };
  const decipher = createDecipheriv(CIPHER, key, box.subarray(0, NONCE_BYTES), options);
  decipher.setAAD(encode(binding));
  decipher.setAuthTag(box.subarray(NONCE_BYTES, head));
  try {
    return Buffer.concat([decipher.update(box.subarray(head)), decipher.final()]);
  } catch {
    return undefined;
  }
}

/** JSON, so that no two bindings have the same bytes. */
function encode(binding: Binding): Buffer {
  return Buffer.from(JSON.stringify(binding), "utf8");
}
