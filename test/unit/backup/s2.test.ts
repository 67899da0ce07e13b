/** S2 as its writers write it: literals, copies of all forms, repeats, and every kind of damage. */
import { describe, expect, it } from "vitest";
import { decompress } from "../../../deploy/backup/s2.ts";

const IDENTIFIER = Buffer.from("ff06000053327354774f", "hex");

/** Masked CRC-32C, by bits: not the code under test. */
function crc(data: Buffer): number {
  let value = 0xffffffff;
  for (const byte of data) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit += 1) value = (value >>> 1) ^ (value & 1 ? 0x82f63b78 : 0);
  }
  value = ~value >>> 0;
  return (((value >>> 15) | (value << 17)) + 0xa282ead8) >>> 0;
}

function frame(kind: number, body: Buffer, sum: number): Buffer {
  const head = Buffer.alloc(8);
  head[0] = kind;
  head.writeUIntLE(body.length + 4, 1, 3);
  head.writeUInt32LE(sum, 4);
  return Buffer.concat([head, body]);
}

const block = (hex: string, text: string) =>
  frame(0, Buffer.from(hex.replaceAll(" ", ""), "hex"), crc(Buffer.from(text)));

async function read(...parts: readonly Buffer[]): Promise<string> {
  const all = Buffer.concat(parts);
  // As small as a source can make them.
  const source = (async function* () {
    for (const byte of all) yield new Uint8Array([byte]);
  })();
  const out: Buffer[] = [];
  for await (const piece of decompress(source)) out.push(Buffer.from(piece));
  return Buffer.concat(out).toString();
}

describe("compressed data", () => {
  it("is read: plain chunks, literals, copies of one, two and four bytes, and those that reach into themselves", async () => {
    const plain = Buffer.from("plain ");
    const text = `abcdefghabcdefghab${"b".repeat(12)}`;
    const copies = [
      "1e", // 30 bytes
      "1c 6162636465666768", // literal of 8
      "11 08", // 8 bytes from 8 back
      "06 1000", // 2 bytes from 16 back
      "2f 01000000", // 12 bytes from 1 back
    ].join(" ");
    expect(await read(IDENTIFIER, frame(1, plain, crc(plain)), block(copies, text))).toBe(
      `plain ${text}`,
    );
  });

  it("repeats the last offset, short and long", async () => {
    const text = "ab".repeat(207);
    // A literal of 4, a copy of 4 from 2 back, then repeats of 2 + 8 and of 136 + 260.
    const repeats = ["9e03", "0c 61626162", "01 02", "15 00 02", "19 00 8800"].join(" ");
    expect(await read(IDENTIFIER, block(repeats, text))).toBe(text);
  });

  it("passes over what it may, and over nothing else", async () => {
    const plain = Buffer.from("x");
    const padding = frame(0xfe, Buffer.from("zz"), 0);
    expect(await read(IDENTIFIER, padding, frame(1, plain, crc(plain)))).toBe("x");
    await expect(read(IDENTIFIER, frame(0x02, plain, 0))).rejects.toThrow(/unknown kind/);
  });

  it.each([
    ["a wrong checksum", [frame(1, Buffer.from("x"), 1)], /checksum/],
    ["an end within a chunk", [block("01 00 61", "a").subarray(0, -1)], /ends within/],
    ["a copy from before its begin", [block("05 00 61 01 09", "aaaaa")], /copy is wrong/],
    ["a literal longer than the block", [block("01 04 6162", "a")], /longer than it says/],
    ["a block that ends too early", [block("05 10 61", "aaaaa")], /ends too early/],
    ["a block shorter than it says", [block("05 00 61", "a")], /shorter/],
    ["a block that is too large", [block("ffffff7f 00 61", "a")], /too large/],
  ])("is refused with %s", async (_, parts, message) => {
    await expect(read(IDENTIFIER, ...parts)).rejects.toMatchObject({
      code: "backup.invalid",
      message: expect.stringMatching(message),
    });
  });
});
