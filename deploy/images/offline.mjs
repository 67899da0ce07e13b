/**
 * What `docker build` needs where no image registry is reached, only Debian's packages and npm's: a base image, and
 * images that bring ready what the Dockerfiles' own stages would make. npm runs here, so that its settings stay on
 * this machine.
 */
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { BUNDLE } from "../bootstrap/bundle.mjs";
import { mustRun } from "../bootstrap/command.mjs";
import { CACHE, DIST, fromRoot, say } from "../bootstrap/place.mjs";
import { inspectImage, mustImport, tryDocker } from "./docker.mjs";
import { withArchive, withFolder } from "./folder.mjs";
import { ensureBase } from "./offline-base.mjs";
import { RECIPES } from "./recipes.mjs";

/** What servers are made of, beside the packages. */
const SERVER_FILES = ["package.json", "deploy/bin", "gateway/dashboard", "dist"];
/** What npm reads, and the Dockerfiles' build stage copies. */
const NPM_FILES = ["package.json", "package-lock.json", ".npmrc"];
const INSTALLED = ["/usr/local/bin/nats-server", "/usr/sbin/nats-server"];
const NPM_MS = 15 * 60_000;

/** Calls `build(image, context, settings)` for each of `images` while its context is there. */
export async function withOffline(images, build) {
  const base = await ensureBase();
  const isServer = images.some(({ name }) => RECIPES[name].isServer);
  await withBuildImage(isServer, async (tag) => {
    await withFolder(async (context) => {
      // Empty: the build stage makes nothing, and so is the same for all sources.
      for (const name of NPM_FILES) writeFileSync(join(context, name), "");
      for (const image of images) {
        const settings = { PREBUILT: "yes", BASE_IMAGE: base, BUILD_IMAGE: tag };
        await build(image, context, { ...settings, ...(await readyImages(image)) });
      }
    });
  });
}

async function readyImages({ name, agents }) {
  return {
    ...(RECIPES[name].hasNats ? { NATS_IMAGE: await ensureNatsImage() } : {}),
    ...(agents.length > 0 ? { AGENTS_IMAGE: await ensureAgentsImage(agents) } : {}),
  };
}

/** As the official image: nothing but the program, at the root. */
async function ensureNatsImage() {
  const module = pathToFileURL(join(DIST, "deploy", "nats", "find-server.js")).href;
  const { findNatsServer } = await import(module);
  const { binary, version } = await findNatsServer({ cacheDir: CACHE, installed: INSTALLED }, say);
  const tag = `berth-nats:${version}`;
  if (inspectImage(tag) !== undefined) return tag;
  await withFolder(async (folder) => {
    cpSync(binary, join(folder, "nats-server"), { dereference: true });
    await withArchive(folder, (archive) => mustImport(archive, tag));
  });
  return tag;
}

/** Kept, because it is large: one for each list of agents. */
async function ensureAgentsImage(agents) {
  const digest = createHash("sha256").update(agents.toSorted().join(" ")).digest("hex");
  const tag = `berth-agents:${digest.slice(0, 12)}`;
  if (inspectImage(tag) !== undefined) return tag;
  await withFolder(async (folder) => {
    const place = join(folder, "image", "opt", "agents");
    mkdirSync(place, { recursive: true });
    await npm(place, ["install", "--prefix", place, ...agents]);
    // They name the registry that this machine uses.
    for (const name of ["package.json", "package-lock.json", "node_modules/.package-lock.json"])
      rmSync(join(place, name), { force: true });
    await withArchive(folder, (archive) => mustImport(archive, tag));
  });
  return tag;
}

/**
 * There for as long as `work` takes: what is built of it keeps its own copy. It holds `/executor`, and where servers are
 * wanted `/modules` and `/server`, as the Dockerfiles' build stage has them.
 */
async function withBuildImage(isServer, work) {
  const tag = `berth-build:${process.pid}`;
  await withFolder(async (folder) => {
    copyInto(join(folder, "executor", "opt", "berth"), DIST, [BUNDLE]);
    if (isServer) await fillServer(folder);
    await withArchive(folder, (archive) => mustImport(archive, tag));
  });
  try {
    await work(tag);
  } finally {
    tryDocker(["rmi", tag]);
  }
}

async function fillServer(folder) {
  const modules = join(folder, "modules", "berth");
  copyInto(modules, fromRoot(), NPM_FILES);
  await npm(modules, ["ci", "--omit=dev", "--ignore-scripts"]);
  for (const name of [...NPM_FILES, "node_modules/.package-lock.json"])
    rmSync(join(modules, name), { force: true });
  copyInto(join(folder, "server", "berth"), fromRoot(), SERVER_FILES);
}

function copyInto(place, from, names) {
  mkdirSync(place, { recursive: true });
  for (const name of names) cpSync(join(from, name), join(place, name), { recursive: true });
}

async function npm(cwd, args) {
  say(`npm ${args.join(" ")}`);
  await mustRun(
    "npm",
    [...args, "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error"],
    { timeoutMs: NPM_MS, cwd },
    "The packages could not be installed: see npm's message above.",
  );
}
