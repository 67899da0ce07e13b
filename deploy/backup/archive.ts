/**
 * Reads a stream's archive as nats-server writes it, message by message, to say what is in it. From 2.15 on an archive is a list of
 * messages; servers before it wrote their own files, of which only the compression's checksums are looked at.
 */
import { BerthError } from "../../protocols/errors.ts";
import { decompress } from "./s2.ts";

export interface ArchiveContent {
  /** Undefined: written by a server older than 2.15. */
  readonly messages: number | undefined;
  readonly bytes: number;
}

const MAGIC = "NATSARC1";
const damaged = (what: string) => new BerthError("backup.invalid", `an archive ${what}`);

/** Throws `backup.invalid` where it is damaged or not whole. */
export async function readArchive(source: AsyncIterable<Uint8Array>): Promise<ArchiveContent> {
  const bytes = new ByteReader(decompress(source));
  const magic = await bytes.take(MAGIC.length);
  if (magic.toString("latin1") !== MAGIC) {
    await bytes.skipAll();
    return { messages: undefined, bytes: bytes.count };
  }
  let messages = 0;
  let last = 0;
  for (;;) {
    const name = await bytes.varint();
    const time = await bytes.varint();
    const seq = await bytes.varint();
    const size = (await bytes.varint()) + (await bytes.varint());
    if (name + time + seq + size === 0) break;
    await bytes.skip(name + size);
    if (seq === 0) continue; // What the server says of the whole.
    if (seq <= last) throw damaged("has its messages in disorder");
    last = seq;
    messages += 1;
  }
  if (!(await bytes.isAtEnd())) throw damaged("goes on behind its end");
  return { messages, bytes: bytes.count };
}

class ByteReader {
  readonly #source: AsyncIterator<Uint8Array>;
  #data: Buffer = Buffer.alloc(0);
  #at = 0;
  #count = 0;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Taken so far. */
  get count(): number {
    return this.#count;
  }

  async take(length: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (let left = length; left > 0; ) {
      if (!(await this.#fill())) throw damaged("ends too early");
      const part = this.#data.subarray(this.#at, this.#at + left);
      this.#pass(part.length);
      parts.push(part);
      left -= part.length;
    }
    return Buffer.concat(parts);
  }

  async skip(length: number): Promise<void> {
    for (let left = length; left > 0; ) {
      if (!(await this.#fill())) throw damaged("ends too early");
      const passed = Math.min(left, this.#data.length - this.#at);
      this.#pass(passed);
      left -= passed;
    }
  }

  async skipAll(): Promise<void> {
    while (await this.#fill()) this.#pass(this.#data.length - this.#at);
  }

  async varint(): Promise<number> {
    let value = 0;
    for (let shift = 0; shift < 64; shift += 7) {
      if (this.#at >= this.#data.length && !(await this.#fill())) throw damaged("ends too early");
      const byte = this.#data[this.#at] ?? 0;
      this.#pass(1);
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw damaged("holds a wrong number");
  }

  async isAtEnd(): Promise<boolean> {
    return !(await this.#fill());
  }

  #pass(length: number): void {
    this.#at += length;
    this.#count += length;
  }

  /** Whether there is anything to take. */
  async #fill(): Promise<boolean> {
    while (this.#at >= this.#data.length) {
      const next = await this.#source.next();
      if (next.done === true) return false;
      const { buffer, byteLength, byteOffset } = next.value;
      this.#data = Buffer.from(buffer, byteOffset, byteLength);
      this.#at = 0;
    }
    return true;
  }
}
