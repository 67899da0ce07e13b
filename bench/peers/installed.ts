/** The peers' programs, where `npm run bench` has put them. */
import { access, constants, readFile } from "node:fs/promises";
import { join } from "node:path";
import { CACHE_DIR } from "../place.ts";

const MODULES = join(CACHE_DIR, "peers", "node_modules");

export interface InstalledProgram {
  readonly path: string;
  readonly version: string;
}

/** `file` of the first of `packages` that is there (a package each for some platforms); undefined when none is. */
export async function findInstalled(
  packages: readonly string[],
  file: string,
): Promise<InstalledProgram | undefined> {
  for (const name of packages) {
    try {
      const folder = join(MODULES, name);
      const path = join(folder, file);
      await access(path, constants.X_OK);
      const text = await readFile(join(folder, "package.json"), "utf8");
      return { path, version: (JSON.parse(text) as { readonly version: string }).version };
    } catch {}
  }
  return undefined;
}
