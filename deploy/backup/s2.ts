/**
 * Reads what nats-server compresses its archives with: S2, which is Snappy's framing and blocks with larger chunks and with copies
 * that repeat the last offset. Each chunk has a checksum of what it holds.
 */
import { BerthError } from "../../protocols/errors.ts";

const IDENTIFIER = 0xff;
const COMPRESSED = 0x00;
const PLAIN = 0x01;
/** Below it what is not known may not be passed over. */
const SKIPPABLE = 0x80;
const HEADER_BYTES = 4;
const CHECKSUM_BYTES = 4;
const MAX_CHUNK_BYTES = 4 * 1024 * 1024 + 64;
const CHECKSUM_MASK = 0xa282ead8;

const broken = (what: string) => new BerthError("backup.invalid", `compressed data: ${what}`);

/** What the frames hold, in order. Throws `backup.invalid` where they are damaged or end too early. */
export async function* decompress(source: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  let rest = Buffer.alloc(0);
  for await (const piece of source) {
    rest = rest.length === 0 ? Buffer.from(piece) : Buffer.concat([rest, piece]);
    let at = 0;
    for (;;) {
      const end = endOfFrame(rest, at);
      if (end === undefined) break;
      const data = readFrame(rest.subarray(at, end));
      if (data.length > 0) yield data;
      at = end;
    }
    rest = rest.subarray(at);
  }
  if (rest.length > 0) throw broken("it ends within a chunk");
}

function endOfFrame(data: Buffer, at: number): number | undefined {
  if (data.length < at + HEADER_BYTES) return undefined;
  const end = at + HEADER_BYTES + data.readUIntLE(at + 1, 3);
  return end <= data.length ? end : undefined;
}

function readFrame(frame: Buffer): Buffer {
  const [kind = IDENTIFIER] = frame;
  const body = frame.subarray(HEADER_BYTES);
  if (kind !== COMPRESSED && kind !== PLAIN) {
    if (kind < SKIPPABLE) throw broken("a chunk is of an unknown kind");
    return Buffer.alloc(0);
  }
  if (body.length < CHECKSUM_BYTES) throw broken("a chunk is too short");
  const payload = body.subarray(CHECKSUM_BYTES);
  const data = kind === PLAIN ? payload : readBlock(payload);
  if (checksum(data) !== body.readUInt32LE(0)) throw broken("a checksum is wrong");
  return data;
}

/** One block: its length, then literals and copies of what came before. */
function readBlock(source: Buffer): Buffer {
  const reader = new Reader(source);
  const size = reader.varint();
  if (size > MAX_CHUNK_BYTES) throw broken("a block is too large");
  const out = Buffer.allocUnsafe(size);
  let at = 0;
  let offset = 0;
  while (!reader.isAtEnd) {
    const element = reader.element();
    if (element.literal > 0) {
      if (at + element.literal > size) throw broken("a block is longer than it says");
      reader.take(element.literal).copy(out, at);
      at += element.literal;
      continue;
    }
    offset = element.offset || offset;
    if (offset === 0 || offset > at || at + element.copy > size) throw broken("a copy is wrong");
    copyWithin(out, { at, offset, length: element.copy });
    at += element.copy;
  }
  if (at !== size) throw broken("a block is shorter than it says");
  return out;
}

/** A copy may reach into itself: then it repeats. */
function copyWithin(
  out: Buffer,
  { at, length, offset }: { readonly at: number; readonly length: number; readonly offset: number },
): void {
  if (offset >= length) {
    out.copyWithin(at, at - offset, at - offset + length);
    return;
  }
  for (let i = 0; i < length; i += 1) out[at + i] = out[at + i - offset] ?? 0;
}

interface Element {
  /** Bytes that follow as they are; 0 for a copy. */
  readonly literal: number;
  readonly copy: number;
  /** 0: that of the copy before. */
  readonly offset: number;
}

const LONG_LITERAL = 60;
/** Bytes of a repeat's length, by the three bits of its tag, and what is added to it. */
const REPEATS: Readonly<Record<number, readonly [bytes: number, base: number]>> = {
  5: [1, 4],
  6: [2, 1 << 8],
  7: [3, 1 << 16],
};
const SHORTEST_COPY = 4;

class Reader {
  readonly #source: Buffer;
  #at = 0;

  constructor(source: Buffer) {
    this.#source = source;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#source.length;
  }

  take(count: number): Buffer {
    const end = this.#at + count;
    if (end > this.#source.length) throw broken("a block ends too early");
    const taken = this.#source.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }

  varint(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.take(1).readUInt8();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw broken("a length is wrong");
  }

  element(): Element {
    const tag = this.take(1).readUInt8();
    const high = tag >> 2;
    switch (tag & 3) {
      case 0:
        return {
          copy: 0,
          offset: 0,
          literal: 1 + (high < LONG_LITERAL ? high : this.#number(high - 59)),
        };
      case 1:
        return this.#shortCopy(tag);
      case 2:
        return { literal: 0, offset: this.#number(2), copy: high + 1 };
      default:
        return { literal: 0, offset: this.#number(4), copy: high + 1 };
    }
  }

  #shortCopy(tag: number): Element {
    const offset = ((tag & 0xe0) << 3) | this.#number(1);
    const length = (tag >> 2) & 7;
    const repeat = offset === 0 ? REPEATS[length] : undefined;
    const extra = repeat ? this.#number(repeat[0]) + repeat[1] : length;
    return { literal: 0, offset, copy: extra + SHORTEST_COPY };
  }

  #number(bytes: number): number {
    return this.take(bytes).readUIntLE(0, bytes);
  }
}

/** CRC-32C, by bytes. */
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = (value >>> 1) ^ (value & 1 ? 0x82f63b78 : 0);
  return value >>> 0;
});

function checksum(data: Buffer): number {
  let value = 0xffffffff;
  for (let i = 0; i < data.length; i += 1)
    value = (TABLE[(value ^ (data[i] ?? 0)) & 0xff] ?? 0) ^ (value >>> 8);
  value = ~value >>> 0;
  return (((value >>> 15) | (value << 17)) + CHECKSUM_MASK) >>> 0;
}
