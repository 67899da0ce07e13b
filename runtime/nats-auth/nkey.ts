/**
 * NATS's Ed25519 keys on `node:crypto`: their text forms and signatures. The client's own library needs 14 ms for a
 * signature, this 0.1 ms; a worker is given a credential at every start.
 */
import { createPrivateKey, createPublicKey, type KeyObject, randomBytes, sign } from "node:crypto";
import { BerthError } from "../../protocols/errors.ts";
import { decodeBase32, encodeBase32 } from "./base32.ts";

/** First byte of a key's text form, which makes its first letter. */
const PREFIXES = { operator: 14 << 3, account: 0, user: 20 << 3 } as const;
export type NkeyKind = keyof typeof PREFIXES;

const SEED_PREFIX = 18 << 3;
const KEY_BYTES = 32;
const CRC_BYTES = 2;

/** What stands before the 32 bytes of a key in its DER form. */
const PRIVATE_DER = Buffer.from("302e020100300506032b657004220420", "hex");
const PUBLIC_DER = Buffer.from("302a300506032b6570032100", "hex");

/** A key pair. Its seed is a secret and never logged. */
export class Nkey {
  readonly kind: NkeyKind;
  /** As it stands in claims: `A...`, `O...`, `U...`. */
  readonly publicKey: string;
  readonly #seed: Buffer;
  readonly #private: KeyObject;

  private constructor(kind: NkeyKind, seed: Buffer) {
    this.kind = kind;
    this.#seed = seed;
    this.#private = createPrivateKey({
      key: Buffer.concat([PRIVATE_DER, seed]),
      format: "der",
      type: "pkcs8",
    });
    const der = createPublicKey(this.#private).export({ format: "der", type: "spki" });
    this.publicKey = checked(Buffer.from([PREFIXES[kind]]), der.subarray(PUBLIC_DER.length));
  }

  static make(kind: NkeyKind): Nkey {
    return new Nkey(kind, randomBytes(KEY_BYTES));
  }

  /** Of 32 bytes that are secret already. */
  static of(kind: NkeyKind, seed: Buffer): Nkey {
    if (seed.length !== KEY_BYTES) throw new BerthError("config.invalid", "a seed has 32 bytes");
    return new Nkey(kind, seed);
  }

  /** Throws `config.invalid`, which never names the text. */
  static parse(text: string): Nkey {
    const bytes = decodeBase32(text.trim());
    const body = bytes.subarray(0, -CRC_BYTES);
    const kind = (Object.keys(PREFIXES) as NkeyKind[]).find(
      (name) => PREFIXES[name] === ((((body[0] ?? 0) & 7) << 5) | ((body[1] ?? 0) >> 3)),
    );
    const isSeed = ((body[0] ?? 0) & 0xf8) === SEED_PREFIX && body.length === KEY_BYTES + 2;
    if (!isSeed || kind === undefined || bytes.readUInt16LE(body.length) !== crc16(body))
      throw new BerthError("config.invalid", "not the seed of a NATS key");
    return new Nkey(kind, body.subarray(2));
  }

  /** The secret, as files and the stock tools have it: `SA...`, `SO...`, `SU...`. */
  get seed(): string {
    const prefix = PREFIXES[this.kind];
    const head = [SEED_PREFIX | (prefix >> 5), (prefix & 31) << 3];
    return checked(Buffer.from(head), this.#seed);
  }

  /** The secret's 32 bytes, to derive others from. */
  get secret(): Buffer {
    return Buffer.from(this.#seed);
  }

  sign(data: string): Buffer {
    return sign(null, Buffer.from(data), this.#private);
  }
}

/** With the checksum that ends every text form. */
function checked(head: Buffer, key: Buffer): string {
  const body = Buffer.concat([head, key]);
  const crc = Buffer.alloc(CRC_BYTES);
  crc.writeUInt16LE(crc16(body));
  return encodeBase32(Buffer.concat([body, crc]));
}

/** CRC-16 as XMODEM has it. */
function crc16(bytes: Buffer): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021;
    crc &= 0xffff;
  }
  return crc;
}
