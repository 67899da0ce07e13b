/** kustomize for the tests of deploy/kubernetes: the one on the PATH, or the distribution's, unpacked into the cache. */
import { chmodSync, existsSync, mkdirSync, renameSync } from "node:fs";
import { copyFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { isInstalled } from "./command.mjs";
import { CACHE, DIST, say } from "./place.mjs";

/** Where tests look, see test/support/kustomize.ts. */
const BINARY = join(CACHE, "kustomize", "kustomize");

/** Says in one sentence what goes without where it cannot be had. */
export async function ensureKustomize() {
  if (isInstalled("kustomize") || existsSync(BINARY)) return;
  const reason = isInstalled("apt-get", "dpkg") ? await fetchProgram() : "there is no apt-get";
  if (reason !== undefined) {
    say(`kustomize cannot be had (${reason}): tests of deploy/kubernetes are skipped.`);
  }
}

async function fetchProgram() {
  const module = pathToFileURL(join(DIST, "deploy", "nats", "debian-package.js")).href;
  const { withDebianProgram } = await import(module);
  return await withDebianProgram({ program: "kustomize", cacheDir: CACHE }, say, keep).catch(
    (thrown) => thrown.message,
  );
}

/** Under its name when it is whole. */
async function keep(program) {
  mkdirSync(dirname(BINARY), { recursive: true });
  const draft = `${BINARY}.${process.pid}`;
  await copyFile(program, draft);
  chmodSync(draft, 0o755);
  renameSync(draft, BINARY);
}
