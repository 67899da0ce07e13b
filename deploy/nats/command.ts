/** Runs another program to its end, bounded in time and output. */
import { spawn } from "node:child_process";

export interface CommandResult {
  /** The exit code; null when it was killed, timed out, or could not be started. */
  readonly code: number | null;
  readonly stdout: string;
  /** What it said on stderr, or why it could not be started. */
  readonly stderr: string;
}

const MAX_OUTPUT_CHARS = 1_000_000;

/** Never rejects: a program that does not exist has a null code and says so in `stderr`. */
export function runCommand(
  command: string,
  args: readonly string[],
  options: { readonly timeoutMs: number; readonly cwd?: string },
): Promise<CommandResult> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      stdio: ["ignore", "pipe", "pipe"],
      timeout: options.timeoutMs,
      killSignal: "SIGKILL",
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout = (stdout + text).slice(-MAX_OUTPUT_CHARS);
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr = (stderr + text).slice(-MAX_OUTPUT_CHARS);
    });
    child.once("error", (error) => resolve({ code: null, stdout, stderr: error.message }));
    child.once("close", (code) => resolve({ code, stdout, stderr }));
  });
}
