/** Whole lines of a program that writes JSON lines, with the offset at which each began. */

/** A longer line is handed on in parts: it then does not parse, and is shown as plain output. */
export const MAX_LINE_BYTES = 4 * 1024 * 1024;

const NEWLINE = 0x0a;

export interface Line {
  readonly bytes: Buffer;
  readonly offset: number;
}

export class LineSplitter {
  #parts: Buffer[] = [];
  #held = 0;
  #offset = 0;

  write(chunk: Buffer): Line[] {
    const lines: Line[] = [];
    let start = 0;
    for (let at = chunk.indexOf(NEWLINE); at !== -1; at = chunk.indexOf(NEWLINE, start)) {
      this.#hold(chunk.subarray(start, at + 1));
      lines.push(this.#release());
      start = at + 1;
    }
    if (start < chunk.length) this.#hold(chunk.subarray(start));
    if (this.#held > MAX_LINE_BYTES) lines.push(this.#release());
    return lines;
  }

  /** The last line, if it has no newline. */
  end(): Line[] {
    return this.#held === 0 ? [] : [this.#release()];
  }

  #hold(part: Buffer): void {
    this.#parts.push(part);
    this.#held += part.length;
  }

  #release(): Line {
    const line = { bytes: Buffer.concat(this.#parts), offset: this.#offset };
    this.#offset += this.#held;
    this.#parts = [];
    this.#held = 0;
    return line;
  }
}
