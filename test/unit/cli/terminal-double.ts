import { Writable } from "node:stream";
import type { CliContext } from "../../../deploy/cli/context.ts";
import type { Started } from "../../../deploy/cli/stay-up.ts";
import { openTerminal, type Terminal } from "../../../deploy/cli/terminal.ts";
import type { Starters } from "../../../deploy/cli/up.ts";

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

/** Whatever is started, `start` does it, and is told which and how. */
export function startersDouble(
  start: (options: {
    readonly role: string;
    readonly print: (line: string) => void;
  }) => Promise<Started>,
): Starters {
  return {
    up: (options) => start({ role: "up", ...options }),
    node: (options) => start({ role: "node", ...options }),
    gateway: (options) => start({ role: "gateway", ...options }),
    operatorKey: ({ name }) => Promise.resolve(`key-of-${name}`),
    rotateKey: ({ key, waitMs, print }) => Promise.resolve(print(`${key} in ${waitMs} ms`)),
    backup: () => Promise.reject(new Error("no backup here")),
    brokerAccess: () => Promise.resolve("the access"),
    gatewayCreds: (name) => Promise.resolve(`creds of ${name}`),
  };
}
