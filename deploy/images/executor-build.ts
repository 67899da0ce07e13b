/** Which build of the worker's program an image was made of: told by a label, so that a node finds one that is not its own's. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";

/** On every image that `npm run image` makes, and so on containers of it. */
export const BUILD_LABEL = "berth.build";

/** From what is built, and from the sources. */
const PLACES = ["../../executor.mjs", "../../dist/executor.mjs"];

/** Digest of this checkout's own bundle; undefined when nothing is built. */
export async function executorBuild(): Promise<string | undefined> {
  for (const place of PLACES) {
    const bytes = await readFile(new URL(place, import.meta.url)).catch(() => undefined);
    if (bytes !== undefined) return createHash("sha256").update(bytes).digest("hex");
  }
  return undefined;
}
