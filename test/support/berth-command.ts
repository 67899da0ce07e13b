/** The built `berth` command as a child process, against a gateway of the test's. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { eventually } from "./eventually.ts";

const BIN = fileURLToPath(new URL("../../deploy/bin/berth.mjs", import.meta.url));

export interface BerthCommand extends AsyncDisposable {
  out(): string;
  err(): string;
  signal(signal: NodeJS.Signals): void;
  /** The exit code. Fails when it has not ended in time. */
  done(withinMs?: number): Promise<number | null>;
  /** Resolves when standard output, or error output, holds the text. */
  says(text: string | RegExp): Promise<void>;
}

export interface CommandOptions {
  readonly url?: string;
  readonly key?: string;
  readonly stdin?: string;
  readonly cwd?: string;
}

export function startCommand(args: readonly string[], options: CommandOptions = {}): BerthCommand {
  const child = spawn(process.execPath, [BIN, ...args], {
    cwd: options.cwd,
    env: {
      PATH: process.env["PATH"],
      ...(options.url === undefined ? {} : { BERTH_URL: options.url }),
      ...(options.key === undefined ? {} : { BERTH_KEY: options.key }),
    },
  });
  let out = "";
  let err = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    err += text;
  });
  child.stdin.end(options.stdin ?? "");
  const closed = once(child, "close");
  return {
    out: () => out,
    err: () => err,
    signal: (signal) => child.kill(signal),
    async done(withinMs = 30_000) {
      const timer = AbortSignal.timeout(withinMs);
      timer.addEventListener("abort", () => child.kill("SIGKILL"));
      await closed;
      if (child.signalCode === "SIGKILL")
        throw new Error(`berth ${args.join(" ")} did not end: ${out}${err}`);
      return child.exitCode;
    },
    says: (text) =>
      eventually(
        () => {
          const all = out + err;
          const found = typeof text === "string" ? all.includes(text) : text.test(all);
          if (!found) throw new Error(`it said: ${all}`);
        },
        { within: 20_000, name: `berth ${args[0] ?? ""} says ${String(text)}` },
      ).then(() => undefined),
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
      await closed;
    },
  };
}
