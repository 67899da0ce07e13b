/** A program that only tests need, of the distribution's newest suite: unpacked into the cache, never installed. */
import { chmodSync, existsSync, mkdirSync, renameSync } from "node:fs";
import { copyFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { isInstalled } from "./command.mjs";
import { CACHE, DIST, say } from "./place.mjs";

/**
 * Makes `program` be in the cache's `folder`, under its own name, unless `isThere` says that the machine has it. Says in one
 * sentence what goes without, `skipped`, where it cannot be had.
 */
export async function ensureDebianProgram({ program, folder, isThere, skipped }) {
  const binary = join(CACHE, folder, program);
  if (isThere() || existsSync(binary)) return;
  const reason = isInstalled("apt-get", "dpkg") ? await fetchTo(binary, program) : "no apt-get";
  if (reason !== undefined) say(`${program} cannot be had (${reason}): ${skipped} are skipped.`);
}

async function fetchTo(binary, program) {
  const module = pathToFileURL(join(DIST, "deploy", "nats", "debian-package.js")).href;
  const { withDebianProgram } = await import(module);
  const keep = (unpacked) => keepAs(binary, unpacked);
  return await withDebianProgram({ program, cacheDir: CACHE }, say, keep).catch(
    (thrown) => thrown.message,
  );
}

/** Under its name when it is whole. */
async function keepAs(binary, unpacked) {
  mkdirSync(dirname(binary), { recursive: true });
  const draft = `${binary}.${process.pid}`;
  await copyFile(unpacked, draft);
  chmodSync(draft, 0o755);
  renameSync(draft, binary);
}
