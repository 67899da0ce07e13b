/** Programs of the host (mount, mkfs, iptables ...), run to their end: bounded in time and output, in an environment of their own. */
import { execFile } from "node:child_process";
import { BerthError } from "../../../protocols/errors.ts";

export interface CommandEnd {
  /** Null when it was killed, took too long, or could not be started. */
  readonly code: number | null;
  readonly stdout: string;
  /** What it said there, or why it has no code. */
  readonly stderr: string;
}

/** The port to the host's programs. Never rejects for how a program ended. `input`: what it reads; default: nothing. */
export type RunCommand = (
  program: string,
  args: readonly string[],
  input?: string,
) => Promise<CommandEnd>;

/** Enough to check a large filesystem; everything else takes milliseconds. */
const TIMEOUT_MS = 120_000;
/** A firewall's listing has hundreds of bytes for each network of an engine. */
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;
const MAX_QUOTED_UNITS = 500;
/** Nothing of our own environment, and messages in one language. A plain user's path lacks the folders of `sbin`. */
const ENVIRONMENT = {
  PATH: "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin",
  LC_ALL: "C",
};

export const runCommand: RunCommand = (program, args, input) =>
  new Promise((resolve) => {
    const options = {
      env: ENVIRONMENT,
      cwd: "/",
      timeout: TIMEOUT_MS,
      killSignal: "SIGKILL",
      maxBuffer: MAX_OUTPUT_BYTES,
    } as const;
    const child = execFile(program, args, options, (error, stdout, stderr) => {
      if (error === null) resolve({ code: 0, stdout, stderr });
      else if (typeof error.code === "number") resolve({ code: error.code, stdout, stderr });
      else resolve({ code: null, stdout, stderr: stderr || error.message });
    });
    // One that ended early, or never began, says why by its end.
    child.stdin?.on("error", () => {});
    child.stdin?.end(input);
  });

/** What it wrote to its standard output. Rejects with `driver.failed`, in the program's own words, for any code but `allowed`. */
export async function mustRun(
  run: RunCommand,
  program: string,
  args: readonly string[],
  allowed: readonly number[] = [0],
): Promise<string> {
  const { code, stdout, stderr } = await run(program, args);
  if (code !== null && allowed.includes(code)) return stdout;
  const said = (stderr.trim() || stdout.trim()).slice(0, MAX_QUOTED_UNITS);
  throw new BerthError("driver.failed", `${program} ended with ${code ?? "no code"}: ${said}`);
}
