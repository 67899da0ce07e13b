import type { Writable } from "node:stream";
import { stripVTControlCharacters, styleText } from "node:util";

export type Tone = "bold" | "dim" | "red" | "green" | "yellow" | "blue" | "cyan";

/** Where a command prints. Results go to `out`, everything said to a person beside them to `err`. */
export interface Terminal {
  /** Resolves when the reader has room again, so that a slow pipe never grows our memory. */
  out(text: string): Promise<void>;
  err(text: string): Promise<void>;
  /** `text` in a tone, or as it is where colour is not wanted. */
  paint(tone: Tone, text: string): string;
  /** Columns of the screen; unlimited when the output is not one. */
  readonly width: number;
  readonly isInteractive: boolean;
}

interface TerminalOptions {
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly color: boolean;
  readonly isInteractive: boolean;
  readonly width?: number | undefined;
}

/** A terminal over two streams. */
export function openTerminal(options: TerminalOptions): Terminal {
  return {
    out: (text) => writeTo(options.stdout, text),
    err: (text) => writeTo(options.stderr, text),
    paint: (tone, text) =>
      options.color && text !== "" ? styleText(tone, text, { validateStream: false }) : text,
    width: options.width ?? Number.POSITIVE_INFINITY,
    isInteractive: options.isInteractive,
  };
}

function writeTo(stream: Writable, text: string): Promise<void> {
  if (text === "" || stream.destroyed || stream.write(text)) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      stream.off("drain", done);
      stream.off("close", done);
      resolve();
    };
    stream.once("drain", done);
    stream.once("close", done);
  });
}

/**
 * Text of someone else, made safe for one line of a terminal: escape sequences and other control
 * characters would let a title or a prompt move the cursor or repaint what stands above it.
 */
export function oneLine(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]+/gu, " ").trim();
}

/** As `oneLine` for text of many lines: they stay, with their indentation, and end with a line break. */
export function plainLines(text: string): string {
  const plain = stripVTControlCharacters(text).replaceAll(
    /(?![\n\t])[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu,
    "",
  );
  return plain.endsWith("\n") ? plain : `${plain}\n`;
}
