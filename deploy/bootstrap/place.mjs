/** Where the bootstrap scripts work: this checkout. They need nothing but Node, for they run before `npm ci`. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));
/** Everything that is made and may be thrown away, but for `dist` and `node_modules`. */
export const CACHE = join(ROOT, ".berth", "cache");
export const DIST = join(ROOT, "dist");

export const fromRoot = (...parts) => join(ROOT, ...parts);
export const readJson = (path) => JSON.parse(readFileSync(path, "utf8"));

export function say(line) {
  console.log(line);
}
