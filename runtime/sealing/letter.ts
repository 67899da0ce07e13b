/**
 * A sealed letter: to whoever holds an X25519 private key, from anybody. An ephemeral key pair of the sender and the
 * receiver's public key agree on a secret (X25519), HKDF-SHA256 makes a key of it, a box holds the content. The sender
 * cannot open its own letter.
 */
import {
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
} from "node:crypto";
import { type Binding, KEY_BYTES, openBox, sealBox } from "./box.ts";

const PUBLIC_BYTES = 32;
const INFO = "berth sealed letter 1";
/** What stands before the 32 bytes of a private key in PKCS 8 (RFC 8410). */
const PKCS8_HEAD = Buffer.from("302e020100300506032b656e04220420", "hex");

export interface LetterKey {
  /** Base64url, for the senders. */
  readonly publicKey: string;
  readonly privateKey: KeyObject;
}

/** In memory alone. */
export function newLetterKey(): LetterKey {
  return keyOf(generateKeyPairSync("x25519").privateKey);
}

/** The same key for the same 32 secret bytes. */
export function letterKeyFrom(seed: Uint8Array): LetterKey {
  const der = Buffer.concat([PKCS8_HEAD, seed]);
  return keyOf(createPrivateKey({ key: der, format: "der", type: "pkcs8" }));
}

/** Undefined when `publicKey` is no public key. */
export function sealLetter(
  publicKey: string,
  content: Uint8Array,
  binding: Binding,
): string | undefined {
  const receiver = tryPublic(publicKey);
  const own = newLetterKey();
  const key = receiver && agree(own.privateKey, receiver, [own.publicKey, publicKey]);
  if (key === undefined) return undefined;
  const box = sealBox(key, content, binding);
  key.fill(0);
  return Buffer.concat([Buffer.from(own.publicKey, "base64url"), box]).toString("base64url");
}

/** Undefined for a letter to somebody else, of another binding, or that was changed. */
export function openLetter(own: LetterKey, letter: string, binding: Binding): Buffer | undefined {
  const bytes = Buffer.from(letter, "base64url");
  if (bytes.toString("base64url") !== letter) return undefined;
  const from = bytes.subarray(0, PUBLIC_BYTES).toString("base64url");
  const sender = tryPublic(from);
  const key = sender && agree(own.privateKey, sender, [from, own.publicKey]);
  if (key === undefined) return undefined;
  const content = openBox(key, bytes.subarray(PUBLIC_BYTES), binding);
  key.fill(0);
  return content;
}

function keyOf(privateKey: KeyObject): LetterKey {
  const { x = "" } = createPublicKey(privateKey).export({ format: "jwk" });
  return { privateKey, publicKey: x };
}

function tryPublic(publicKey: string): KeyObject | undefined {
  if (Buffer.from(publicKey, "base64url").length !== PUBLIC_BYTES) return undefined;
  try {
    const key = { kty: "OKP", crv: "X25519", x: publicKey };
    return createPublicKey({ key, format: "jwk" });
  } catch {
    return undefined;
  }
}

/** Undefined where the public key is one that makes every secret the same: the library refuses it. */
function agree(
  privateKey: KeyObject,
  publicKey: KeyObject,
  pair: readonly [sender: string, receiver: string],
): Buffer | undefined {
  try {
    const secret = diffieHellman({ privateKey, publicKey });
    const key = Buffer.from(hkdfSync("sha256", secret, pair.join("."), INFO, KEY_BYTES));
    secret.fill(0);
    return key;
  } catch {
    return undefined;
  }
}
