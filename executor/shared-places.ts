/** Folders outside of every workspace in which a job can leave something. */
import { readFileSync } from "node:fs";
import { access, chmod, constants, lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import { removeTree } from "./workspace.ts";

export const SHARED_PLACES = ["/tmp", "/var/tmp", "/run/lock", "/dev/shm", "/dev/mqueue"] as const;

const OWNER_ONLY = 0o700;

/** Removes all that is ours in them. Mounts in them stay, and are emptied as well. Rejects when something is left. */
export async function emptyPlaces(places: readonly string[]): Promise<void> {
  const mounts = parseMounts(readFileSync("/proc/self/mountinfo", "utf8"));
  for (const place of places) await empty(place, mounts);
}

/** What another user owns was left by no job, and stays; a job may have left something in it. */
async function empty(folder: string, mounts: readonly string[]): Promise<void> {
  for (const name of await namesIn(folder)) {
    const path = join(folder, name);
    const holdsMount = mounts.some((mount) => mount === path || mount.startsWith(`${path}/`));
    if ((await isOurs(path)) && !holdsMount) await removeUnlessReadOnly(path);
    else await empty(path, mounts);
  }
}

/** Nothing for what is no folder, is not there, or could not have been written to. */
async function namesIn(folder: string): Promise<readonly string[]> {
  const stat = await lstat(folder).catch(unless("ENOENT"));
  if (!stat?.isDirectory()) return [];
  // A job may have taken the permissions away.
  if (await isOurs(folder)) await chmod(folder, stat.mode | OWNER_ONLY).catch(unless("EROFS"));
  const names = await readdir(folder).catch(unless("EACCES"));
  if (names === undefined) await mustBeClosed(folder);
  return names ?? [];
}

async function isOurs(path: string): Promise<boolean> {
  return (await lstat(path)).uid === process.getuid?.();
}

/** A folder of another user that we may not list, but write to, may hold anything. */
async function mustBeClosed(folder: string): Promise<void> {
  const isOpen = await access(folder, constants.W_OK).then(
    () => true,
    () => false,
  );
  if (isOpen) throw new Error(`${folder} cannot be listed, and may hold what a job has left`);
}

/** On what is mounted to be read only, no job has left anything. */
async function removeUnlessReadOnly(path: string): Promise<void> {
  await removeTree(path).catch(unless("EROFS"));
}

/** Takes one error for nothing, and throws every other. */
function unless(code: string): (thrown: unknown) => undefined {
  return (thrown) => {
    if ((thrown as NodeJS.ErrnoException).code !== code) throw thrown;
  };
}

/** Mount points, from `/proc/self/mountinfo`, where a space is written as `\040`. */
export function parseMounts(mountinfo: string): string[] {
  return mountinfo
    .split("\n")
    .flatMap((line) => line.split(" ")[4] ?? [])
    .map((point) =>
      point.replace(/\\([0-7]{3})/g, (_, code: string) =>
        String.fromCharCode(Number.parseInt(code, 8)),
      ),
    );
}
