import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LineSplitter } from "../../../executor/line-splitter.ts";
import { MAX_PIECE_BYTES, OutputDecoder, type Piece } from "../../../executor/output-decoder.ts";

function decodeAll(bytes: Buffer, cuts: readonly number[]): Piece[] {
  const decoder = new OutputDecoder();
  const pieces: Piece[] = [];
  let start = 0;
  for (const cut of [...cuts, bytes.length].toSorted((a, b) => a - b)) {
    pieces.push(...decoder.write(bytes.subarray(start, cut)));
    start = cut;
  }
  return [...pieces, ...decoder.flush(true)];
}

describe("the output decoder", () => {
  it("gives the same text however the bytes were cut, flags none of it, and its offsets have no gap", () => {
    const texts = fc
      .string({ unit: "binary", maxLength: 200 })
      .filter((text) => !text.includes("\0") && !/\p{Surrogate}/u.test(text));
    fc.assert(
      fc.property(texts, fc.array(fc.nat(400)), (text, cuts) => {
        const bytes = Buffer.from(text);
        const pieces = decodeAll(
          bytes,
          cuts.map((cut) => Math.min(cut, bytes.length)),
        );
        expect(pieces.map((piece) => piece.text).join("")).toBe(text);
        expect(pieces.every(({ binary }) => !binary)).toBe(true);
        let offset = 0;
        for (const piece of pieces) {
          expect(piece.offset).toBe(offset);
          offset += piece.bytes;
        }
        expect(offset).toBe(bytes.length);
      }),
    );
  });

  it("accounts for every byte of anything at all, in pieces of bounded size", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.array(fc.nat(300)), (array, cuts) => {
        const bytes = Buffer.from(array);
        const pieces = decodeAll(
          bytes,
          cuts.map((cut) => Math.min(cut, bytes.length)),
        );
        expect(pieces.reduce((sum, piece) => sum + piece.bytes, 0)).toBe(bytes.length);
      }),
    );
    const pieces = decodeAll(Buffer.alloc(10 * MAX_PIECE_BYTES, "é"), [100_001]);
    expect(Math.max(...pieces.map(({ bytes }) => bytes))).toBeLessThanOrEqual(MAX_PIECE_BYTES);
    expect(pieces.every(({ binary }) => !binary)).toBe(true);
  });

  it("holds an unfinished line back until it is flushed, and half a character even then", () => {
    const decoder = new OutputDecoder();
    const bytes = Buffer.from("line\nné");
    expect(decoder.write(bytes.subarray(0, -1)).map(({ text }) => text)).toEqual(["line\n"]);
    expect(decoder.flush(false).map(({ text }) => text)).toEqual(["n"]);
    expect(decoder.write(bytes.subarray(-1))).toEqual([]);
    expect(decoder.flush(false)).toMatchObject([{ text: "é", offset: 6, binary: false }]);
  });

  it("flags bytes that are no text, NUL among them", () => {
    expect(decodeAll(Buffer.from([0x61, 0xff, 0x0a]), [])).toMatchObject([
      { text: "a\uFFFD\n", binary: true },
    ]);
    expect(decodeAll(Buffer.from("a\0\n"), [])).toMatchObject([
      { text: "a\uFFFD\n", binary: true },
    ]);
  });
});

describe("the line splitter", () => {
  it("gives lines with their offsets, and the last one without its newline at the end", () => {
    const splitter = new LineSplitter();
    const text = (lines: ReturnType<LineSplitter["write"]>) =>
      lines.map(({ bytes, offset }) => [bytes.toString(), offset]);
    expect(text(splitter.write(Buffer.from("a\nb")))).toEqual([["a\n", 0]]);
    expect(text(splitter.write(Buffer.from("c\nd")))).toEqual([["bc\n", 2]]);
    expect(text(splitter.end())).toEqual([["d", 5]]);
    expect(splitter.end()).toEqual([]);
  });
});
