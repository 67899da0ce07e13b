/**
 * Where jobs run, under one root given to the worker. Invariants:
 * W1 with `job`, a job finds everything empty and leaves nothing: working directory, home and temporary files.
 * W2 with `user` and `tenant`, working directory and home stay, at one path; temporary files go with the job.
 * W3 a wipe that fails is an error: the worker must not take another job.
 */
import { mkdirSync } from "node:fs";
import { chmod, lstat, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { BerthError } from "../protocols/errors.ts";
import type { Place, TranscriptPlace } from "./agents/agent.ts";

export interface WorkspaceOptions {
  readonly root: string;
  readonly mode: "job" | "user" | "tenant";
  readonly isolated: boolean;
}

export interface Workspace {
  readonly place: Place;
  /** Removes what the mode does not keep (W1, W2). */
  wipe(): Promise<void>;
}

const OWNER_ONLY = 0o700;

/** Makes the directories of one attempt; `name` is its own. */
export function openWorkspace(options: WorkspaceOptions, name: string): Workspace {
  const scratch = join(options.root, "tmp", name);
  const kept = options.mode === "job" ? scratch : options.root;
  const place: Place = {
    work: join(kept, "work"),
    home: join(kept, "home"),
    tmp: join(scratch, "tmp"),
    isolated: options.isolated,
  };
  try {
    // Three quick calls: each turn over the thread pool would cost more than they do.
    for (const folder of [place.work, place.home, place.tmp]) {
      mkdirSync(folder, { recursive: true, mode: OWNER_ONLY });
    }
  } catch (thrown) {
    throw new BerthError("internal.unexpected", "The workspace could not be made", {
      cause: thrown,
    });
  }
  return { place, wipe: () => removeTree(scratch) };
}

/** Removes a directory also when an agent took its own write permission away (W3). Follows no link. */
export async function removeTree(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true, maxRetries: 2 });
  } catch {
    await unlock(path);
    await rm(path, { recursive: true, force: true, maxRetries: 2 });
  }
}

async function unlock(path: string): Promise<void> {
  const stat = await lstat(path).catch(() => undefined);
  if (!stat?.isDirectory()) return;
  await chmod(path, OWNER_ONLY);
  for (const name of await readdir(path)) await unlock(join(path, name));
}

/** Deep enough for a folder per year, month and day. */
const MAX_DEPTH = 4;

/** Is the transcript of that conversation still in this home? */
export async function hasTranscript(
  home: string,
  { folder, suffix }: TranscriptPlace,
): Promise<boolean> {
  return await search(join(home, folder), suffix, MAX_DEPTH);
}

async function search(folder: string, suffix: string, depth: number): Promise<boolean> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) {
    if (entry.isFile() && entry.name.endsWith(suffix)) return true;
    if (
      entry.isDirectory() &&
      depth > 1 &&
      (await search(join(folder, entry.name), suffix, depth - 1))
    ) {
      return true;
    }
  }
  return false;
}
