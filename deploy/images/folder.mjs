/** Folders for as long as something is made in them, and archives that are the same for the same files. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { mustRun } from "../bootstrap/command.mjs";
import { fromRoot } from "../bootstrap/place.mjs";

const PACK_MS = 5 * 60_000;
/** 1980, the first year that every archive format can say. The Dockerfiles have the same. */
const EPOCH = "315532800";

export async function withFolder(work) {
  const parent = fromRoot(".berth");
  mkdirSync(parent, { recursive: true });
  const folder = mkdtempSync(join(parent, "image-"));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Calls `work` with an archive of the folder's content: root's, readable by all, of one time, in order. */
export async function withArchive(folder, work) {
  await withFolder(async (place) => {
    const archive = join(place, "image.tar");
    await mustRun(
      "tar",
      [
        ...["-C", folder, "-cf", archive, "--sort=name", `--mtime=@${EPOCH}`],
        ...["--owner=0", "--group=0", "--numeric-owner", "--mode=u+rwX,go+rX,go-w", "."],
      ],
      { timeoutMs: PACK_MS },
      "The image's files could not be packed: see tar's message above.",
    );
    await work(archive);
  });
}
