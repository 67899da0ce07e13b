/** Bytes of one output stream as pieces of text: whole lines at once, never half a character. */
import { isUtf8 } from "node:buffer";

/** Pieces stay small, so that a frame of them fits the broker's message even when every byte is escaped. */
export const MAX_PIECE_BYTES = 16 * 1024;

export interface Piece {
  readonly text: string;
  /** Of its first byte in the stream. */
  readonly offset: number;
  readonly bytes: number;
  /** Some bytes were not text and stand as U+FFFD. */
  readonly binary: boolean;
}

const NEWLINE = 0x0a;

export class OutputDecoder {
  #tail: Buffer = Buffer.alloc(0);
  #offset = 0;

  /** The lines that the chunk completes. What follows the last newline waits for more, or for `flush`. */
  write(chunk: Buffer): Piece[] {
    const buffer = this.#tail.length === 0 ? chunk : Buffer.concat([this.#tail, chunk]);
    const lines = buffer.lastIndexOf(NEWLINE) + 1;
    const ready =
      buffer.length - lines > MAX_PIECE_BYTES ? characterEnd(buffer, buffer.length) : lines;
    this.#tail = buffer.subarray(ready);
    return this.#pieces(buffer.subarray(0, ready));
  }

  /** The unfinished line as it is; at the end also the bytes of an unfinished character. */
  flush(atEnd: boolean): Piece[] {
    const ready = atEnd ? this.#tail.length : characterEnd(this.#tail, this.#tail.length);
    const buffer = this.#tail.subarray(0, ready);
    this.#tail = this.#tail.subarray(ready);
    return this.#pieces(buffer);
  }

  get hasTail(): boolean {
    return this.#tail.length > 0;
  }

  #pieces(buffer: Buffer): Piece[] {
    const pieces: Piece[] = [];
    for (let start = 0; start < buffer.length; ) {
      const end = pieceEnd(buffer, start);
      pieces.push(decode(buffer.subarray(start, end), this.#offset));
      this.#offset += end - start;
      start = end;
    }
    return pieces;
  }
}

/** After a newline if one is in reach, else between two characters. */
function pieceEnd(buffer: Buffer, start: number): number {
  const limit = start + MAX_PIECE_BYTES;
  if (buffer.length <= limit) return buffer.length;
  const newline = buffer.lastIndexOf(NEWLINE, limit - 1);
  return newline >= start ? newline + 1 : Math.max(characterEnd(buffer, limit), start + 1);
}

/** The largest index up to `end` that does not cut a UTF-8 sequence; bytes that form none are not waited for. */
function characterEnd(buffer: Buffer, end: number): number {
  for (let back = 1; back <= Math.min(3, end); back++) {
    const byte = buffer[end - back] ?? 0;
    if (byte < 0x80) return end;
    if (byte >= 0xc0) return back < sequenceLength(byte) ? end - back : end;
  }
  return end;
}

function sequenceLength(lead: number): number {
  if (lead >= 0xf0) return lead <= 0xf4 ? 4 : 1;
  return lead >= 0xe0 ? 3 : 2;
}

/** NUL is UTF-8 but no text: it counts as binary too. */
function decode(bytes: Buffer, offset: number): Piece {
  const text = bytes.toString("utf8");
  const binary = bytes.includes(0) || !isUtf8(bytes);
  return {
    text: binary ? text.replaceAll("\0", "\uFFFD") : text,
    offset,
    bytes: bytes.length,
    binary,
  };
}
