/**
 * A child process that cannot outlive us. It holds:
 * T1 the child is our direct child: its pid, exit code and signals are its own;
 * T2 a watcher beside it reads a pipe of which we hold the only other end; when we die, however we die, the pipe
 *    ends and the watcher stops the child: SIGTERM, SIGKILL a second later;
 * T3 when the watcher dies the child is killed, for nobody would watch it any more;
 * T4 when the child ends by itself the watcher is told to go, and signals nobody.
 */
import { type ChildProcess, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";

/** The exit code of a child whose lock another process holds. */
export const LOCKED_EXIT_CODE = 75;
const LOCK_WAIT_SECONDS = 5;

/**
 * `$1` is the lock file. The lock lives as long as the child has descriptor 9 open; the watcher closes it.
 * `$$` is the pid of the first shell, which `exec` hands to the child. A line on the pipe is the farewell of T4.
 */
const SCRIPT = `
exec 9>"$1" || exit 1
shift
if command -v flock >/dev/null 2>&1; then flock -w ${LOCK_WAIT_SECONDS} 9 || exit ${LOCKED_EXIT_CODE}; fi
exec 4<&0
(
  exec 9>&- >/dev/null 2>&1
  trap '' INT TERM HUP
  read -r _ <&4 && exit 0
  kill -TERM $$ || exit 0
  for _ in 1 2 3 4 5 6 7 8 9 10; do sleep 0.1; kill -0 $$ || exit 0; done
  kill -KILL $$
) &
exec 3>&- 4<&-
exec "$@" </dev/null
`;

/** How much of what the child says on its outputs is kept for an error. */
const KEPT_CHARS = 4_000;

export interface TetheredExit {
  readonly code: number | null;
  readonly signal: string | null;
}

export interface TetheredChild {
  readonly pid: number;
  /** The last it said on stdout and stderr. */
  readonly said: () => string;
  readonly exited: Promise<TetheredExit>;
  readonly hasExited: () => boolean;
  kill(signal: NodeJS.Signals): void;
}

/** Starts `command`; its own process group keeps a terminal's Ctrl-C from it, so that we stop it in our order. */
export function startTethered(
  command: string,
  args: readonly string[],
  lockFile: string,
): TetheredChild {
  const child = spawn("/bin/sh", ["-c", SCRIPT, "tether", lockFile, command, ...args], {
    stdio: ["pipe", "pipe", "pipe", "pipe"],
    detached: true,
  });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (piece: string) => {
      text = (text + piece).slice(-KEPT_CHARS);
    });
  }
  let isOver = false;
  const exited = new Promise<TetheredExit>((resolve) => {
    const end = (code: number | null, signal: string | null) => {
      isOver = true;
      sayFarewell(child);
      resolve({ code, signal });
    };
    child.once("exit", end);
    child.once("error", (error) => {
      text = error.message;
      end(null, null);
    });
  });
  followWatcher(child);
  return {
    pid: child.pid ?? -1,
    said: () => text.trim(),
    exited,
    hasExited: () => isOver,
    kill: (signal) => {
      if (!isOver) child.kill(signal);
    },
  };
}

/** T4. The watcher may be gone already, hence no listener for what fails. */
function sayFarewell(child: ChildProcess): void {
  const pipe = child.stdin as Writable;
  pipe.on("error", () => {});
  pipe.end("\n");
}

/** T3: descriptor 3 is open in the watcher alone. */
function followWatcher(child: ChildProcess): void {
  const alive = child.stdio[3] as Readable;
  alive.on("error", () => {});
  alive.once("close", () => child.kill("SIGKILL"));
  alive.resume();
}
