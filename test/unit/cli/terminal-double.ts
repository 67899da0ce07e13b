import { Writable } from "node:stream";
import type { CliContext } from "../../../deploy/cli/context.ts";
import { openTerminal, type Terminal } from "../../../deploy/cli/terminal.ts";

/** A stream that keeps what was written. */
export class Written extends Writable {
  text = "";
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

export function terminalDouble(
  options: { readonly width?: number; readonly color?: boolean } = {},
): {
  readonly terminal: Terminal;
  readonly stdout: Written;
  readonly stderr: Written;
} {
  const stdout = new Written();
  const stderr = new Written();
  const terminal = openTerminal({
    stdout,
    stderr,
    color: options.color ?? false,
    isInteractive: false,
    width: options.width,
  });
  return { terminal, stdout, stderr };
}

export type Signal = "SIGINT" | "SIGTERM";

/** Interrupts that a test sends. */
export function interruptsDouble(): Pick<CliContext, "onInterrupt"> & {
  press(signal: Signal): void;
} {
  const listeners = new Set<(signal: Signal) => void>();
  return {
    onInterrupt(fn) {
      listeners.add(fn);
      return () => listeners.delete(fn);
    },
    press(signal) {
      for (const fn of listeners) fn(signal);
    },
  };
}
