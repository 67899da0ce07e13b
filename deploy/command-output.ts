/** What a shell command prints, bounded in time and size; nothing of it lives on. */
import { spawn } from "node:child_process";

export type CommandEnd =
  | { readonly text: string }
  /** Says nothing of what was printed. */
  | { readonly failure: string };

export function commandOutput(
  command: string,
  { timeoutMs, maxBytes }: { readonly timeoutMs: number; readonly maxBytes: number },
): Promise<CommandEnd> {
  const child = spawn("/bin/sh", ["-c", command], {
    // Leads a group, so that what it has started ends with it.
    detached: true,
    stdio: ["ignore", "pipe", "ignore"],
    timeout: timeoutMs,
    killSignal: "SIGKILL",
  });
  return new Promise((resolve) => {
    const pieces: Buffer[] = [];
    let bytes = 0;
    child.once("error", () => resolve({ failure: "cannot be run" }));
    child.once("exit", () => endGroup(child.pid));
    child.stdout.on("data", (piece: Buffer) => {
      bytes += piece.length;
      if (bytes <= maxBytes) pieces.push(piece);
      else endGroup(child.pid);
    });
    child.once("close", (code) => {
      if (bytes > maxBytes) resolve({ failure: `printed more than ${maxBytes} bytes` });
      else if (code === 0) resolve({ text: Buffer.concat(pieces).toString("utf8") });
      else if (code !== null) resolve({ failure: `ended with exit code ${code}` });
      else resolve({ failure: `did not end within ${timeoutMs} ms, or was killed` });
    });
  });
}

function endGroup(leader: number | undefined): void {
  if (leader === undefined) return;
  try {
    process.kill(-leader, "SIGKILL");
  } catch {
    // Nobody is left.
  }
}
