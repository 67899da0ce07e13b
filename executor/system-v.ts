/** Shared memory, semaphores and message queues of System V: they outlive every process and lie in no folder. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import { BerthError } from "../protocols/errors.ts";

/** Tables of `/proc/sysvipc`, and the flag of `ipcrm` for an id of each. */
const KINDS = { shm: "-m", sem: "-s", msg: "-q" } as const;

/** Removes all there are, which takes `ipcrm` if there are any. Rejects when some are left. */
export async function removeSystemV(path: string): Promise<void> {
  const found = readAll();
  if (found.length === 0) return;
  const failure = await promisify(execFile)("ipcrm", found.flat(), { env: { PATH: path } }).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  const left = readAll().length;
  if (left === 0) return;
  throw new BerthError("internal.unexpected", `${left} objects of System V could not be removed`, {
    cause: failure,
  });
}

function readAll(): [flag: string, id: string][] {
  return Object.entries(KINDS).flatMap(([kind, flag]) =>
    parseSystemV(tryRead(`/proc/sysvipc/${kind}`)).map((id): [string, string] => [flag, id]),
  );
}

/** The ids of one table, whose first line is its head. */
export function parseSystemV(table: string): string[] {
  return table
    .split("\n")
    .slice(1)
    .flatMap((line) => line.trim().split(/\s+/)[1] ?? []);
}

/** A kernel built without them has no tables. */
function tryRead(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
