/** The process of the nats-server that Berth runs on a data folder, as its pid file names it; a file may be older than it. */
import { execFile } from "node:child_process";
import { readFile, realpath } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { BerthError } from "../../protocols/errors.ts";
import { CONFIG_FILE, PID_FILE } from "./server.ts";

/** Arguments end in a zero byte, or in a space where `ps` tells of them. */
const CONFIG_OPTION = new RegExp(`-c[\\0 ](.*/${CONFIG_FILE.replace(".", "\\.")})`);

/** Throws `config.invalid` unless the process is there and runs with that folder's configuration. */
export async function serverPid(dataDir: string): Promise<number> {
  const pid = Number(await readFile(join(dataDir, PID_FILE), "utf8").catch(() => ""));
  if (!Number.isSafeInteger(pid) || pid <= 1) throw refusal(`${dataDir} names none`);
  const [, file = ""] = CONFIG_OPTION.exec(await commandOf(pid)) ?? [];
  // Either may have been called by a link.
  const [theirs, ours] = await Promise.all([file, join(dataDir, CONFIG_FILE)].map(realName));
  if (theirs === undefined || theirs !== ours)
    throw refusal(`process ${pid}, which ${dataDir} names, is not that server`);
  return pid;
}

/** Asks it to end. Throws `config.invalid` when the process is not that server, or not there any more. */
export async function endServer(dataDir: string): Promise<void> {
  const pid = await serverPid(dataDir);
  try {
    process.kill(pid, "SIGTERM");
  } catch (cause) {
    throw refusal(`process ${pid} cannot be reached`, cause);
  }
}

const refusal = (reason: string, cause?: unknown) =>
  new BerthError(
    "config.invalid",
    `the operator's key is replaced only of a server that berth started here: ${reason}`,
    { cause },
  );

const realName = (path: string) => realpath(path).catch(() => undefined);

/** Program and arguments; empty when there is no such process. */
async function commandOf(pid: number): Promise<string> {
  // Where there is no /proc, such as on macOS, there is `ps`.
  return await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() =>
    promisify(execFile)("ps", ["-o", "command=", "-p", String(pid)]).then(
      ({ stdout }) => stdout,
      () => "",
    ),
  );
}
