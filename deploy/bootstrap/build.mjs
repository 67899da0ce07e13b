/**
 * Builds `dist`, unless it was built from exactly these sources. Built beside and put in place in one step, so
 * that a build that fails, or runs while Berth does, leaves a whole `dist`.
 */
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import "./node-version.mjs";
import { bundleExecutor } from "./bundle.mjs";
import { mustRun, runMain, SetupError } from "./command.mjs";
import { withBootstrapLock } from "./lock.mjs";
import { DIST, fromRoot, readJson, say } from "./place.mjs";

const TIMEOUT_MS = 5 * 60_000;
const COMPILER = fromRoot("node_modules", "typescript", "bin", "tsc");
const STAMP = ".built-from";
/** Served as they are; the compiler does not carry them over. */
const STATIC = join("gateway", "dashboard");
const SETTINGS = [
  "tsconfig.json",
  "tsconfig.build.json",
  "package-lock.json",
  "deploy/bootstrap/bundle.mjs",
];

export async function ensureBuilt() {
  const sources = listSources();
  const digest = digestOf(sources);
  if (readStamp() === digest) return;
  if (!existsSync(COMPILER)) {
    throw new SetupError('The compiler is not installed: run "npm ci" first.');
  }
  say("building (tsc)");
  const draft = fromRoot(".berth", `build-${process.pid}`);
  rmSync(draft, { recursive: true, force: true });
  try {
    await mustRun(
      process.execPath,
      [COMPILER, "-p", "tsconfig.build.json", "--outDir", draft],
      { timeoutMs: TIMEOUT_MS },
      "The build failed: see the compiler's messages above.",
    );
    for (const path of sources.filter(isStatic)) {
      mkdirSync(dirname(join(draft, path)), { recursive: true });
      cpSync(fromRoot(path), join(draft, path));
    }
    await bundleExecutor(draft);
    writeFileSync(join(draft, STAMP), digest);
    putInPlace(draft);
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}

function putInPlace(draft) {
  const old = fromRoot(".berth", `replaced-${process.pid}`);
  if (existsSync(DIST)) move(DIST, old);
  move(draft, DIST);
  rmSync(old, { recursive: true, force: true });
}

/** `.berth` may lie on another file system. */
function move(from, to) {
  try {
    renameSync(from, to);
  } catch (thrown) {
    if (thrown.code !== "EXDEV") throw thrown;
    cpSync(from, to, { recursive: true });
    rmSync(from, { recursive: true, force: true });
  }
}

const isStatic = (path) => path.startsWith(STATIC) && !path.endsWith(".ts");

function listSources() {
  const { include } = readJson(fromRoot("tsconfig.build.json"));
  const files = include.flatMap((path) => {
    if (path.endsWith(".ts")) return [path];
    if (!existsSync(fromRoot(path))) return [];
    const entries = readdirSync(fromRoot(path), { recursive: true, withFileTypes: true });
    return entries
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(fromRoot().length));
  });
  return [...SETTINGS, ...files.filter((path) => path.endsWith(".ts") || isStatic(path))].toSorted(
    (a, b) => (a < b ? -1 : 1),
  );
}

function digestOf(paths) {
  const hash = createHash("sha256");
  for (const path of paths)
    hash
      .update(`${path}\0`)
      .update(readFileSync(fromRoot(path)))
      .update("\0");
  return hash.digest("hex");
}

function readStamp() {
  try {
    return readFileSync(join(DIST, STAMP), "utf8");
  } catch {
    return undefined;
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  await runMain(() => withBootstrapLock(ensureBuilt));
}
