/**
 * What `docker build` needs where no image registry is reached, only Debian's packages and npm's: a base image of
 * the distribution's packages and this machine's Node, an image of the nats-server that Berth finds, and a context
 * in which the packages and the build are ready. npm runs here, so that its settings stay on this machine.
 */
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { mustRun, SetupError } from "../bootstrap/command.mjs";
import { CACHE, DIST, fromRoot, say } from "../bootstrap/place.mjs";
import { prepare } from "../bootstrap/prepare.mjs";
import { ensureSystemPackages } from "../bootstrap/system-packages.mjs";
import { answers } from "./docker.mjs";

const MMDEBSTRAP = {
  name: "mmdebstrap",
  programs: ["mmdebstrap"],
  without: "no base image can be made",
};
const PACKAGES = ["git", "curl", "ca-certificates", "python3-minimal"];
/** What the image is made of, beside the packages. */
const FILES = [
  "package.json",
  "package-lock.json",
  ".npmrc",
  "deploy/bin",
  "gateway/dashboard",
  "dist",
];
const LEFT_OUT = ["doc", "man", "locale"];
const INSTALLED = ["/usr/local/bin/nats-server", "/usr/sbin/nats-server"];
const SHORT_MS = 2 * 60_000;
const LONG_MS = 15 * 60_000;

/** Calls `build` with the context and the build's arguments while both are there. `agents` are packages as npm names them. */
export async function withOffline(agents, build) {
  await prepare();
  const [base, nats] = [await ensureBase(), await makeNats()];
  await withFolder(async (context) => {
    await fillContext(context, agents);
    await build(context, ["PREBUILT=yes", `BASE_IMAGE=${base}`, `NATS_IMAGE=${nats}`]);
  });
}

/** Made once for each Node and release of the distribution; remove the image to have it made again. */
async function ensureBase() {
  const release = /^VERSION_CODENAME="?(\w+)"?$/m.exec(readText("/etc/os-release"))?.[1];
  if (release === undefined) throw new SetupError("This machine's distribution names no release.");
  const tag = `berth-base:${release}-node${process.versions.node}`;
  if (answers(["image", "inspect", tag])) return tag;
  await ensureSystemPackages([MMDEBSTRAP]);
  say(`making ${tag} of ${release}'s packages (minutes, once)`);
  await withFolder(async (folder) => {
    const sources = join(folder, "base.sources");
    const archive = join(folder, "base.tar");
    writeFileSync(sources, await sourcesOf(release));
    await mustRun(
      "mmdebstrap",
      [
        ...["--quiet", "--variant=minbase", `--include=${PACKAGES.join(",")}`],
        ...LEFT_OUT.map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`),
        `--customize-hook=upload ${realpathSync(process.execPath)} /usr/local/bin/node`,
        "--customize-hook=chmod 0755 $1/usr/local/bin/node",
        ...[release, archive, sources],
      ],
      { timeoutMs: LONG_MS },
      "The base image could not be made: see mmdebstrap's message above (it needs root).",
    );
    await mustImport(archive, tag);
  });
  return tag;
}

/** The machine's own sources of this release, its updates and security fixes, in deb822. */
async function sourcesOf(release) {
  const { formatSource, parseDeb822, parseOneLine } = await built("nats", "apt-sources.js");
  const parts = "/etc/apt/sources.list.d";
  const names = existsSync(parts) ? readdirSync(parts) : [];
  const found = ["/etc/apt/sources.list", ...names.map((name) => join(parts, name))].flatMap(
    (path) => (path.endsWith(".sources") ? parseDeb822 : parseOneLine)(readText(path)),
  );
  const own = found.filter(
    ({ components, suites }) =>
      components.includes("main") && suites.every((suite) => suite.split("-")[0] === release),
  );
  if (own.length === 0) throw new SetupError(`apt names no mirror of ${release}.`);
  return own
    .map((source) => formatSource(source, source.suites.join(" "), source.components.join(" ")))
    .join("\n");
}

/** As the official image: nothing but the program, at the root. */
async function makeNats() {
  const { findNatsServer } = await built("nats", "find-server.js");
  const { binary, version } = await findNatsServer({ cacheDir: CACHE, installed: INSTALLED }, say);
  const tag = `berth-nats:${version}`;
  await withFolder(async (folder) => {
    cpSync(binary, join(folder, "nats-server"), { dereference: true });
    const archive = join(folder, "nats.tar");
    await mustRun(
      "tar",
      ["-C", folder, "-cf", archive, "nats-server"],
      { timeoutMs: SHORT_MS },
      "The nats-server could not be packed: see tar's message above.",
    );
    await mustImport(archive, tag);
  });
  return tag;
}

/** What the Dockerfile's build stage would have made, made here. */
async function fillContext(context, agents) {
  for (const path of FILES) cpSync(fromRoot(path), join(context, path), { recursive: true });
  mkdirSync(join(context, "agents"));
  await npm(context, ["ci", "--omit=dev"]);
  if (agents.length > 0) await npm(context, ["install", "--prefix", "agents", ...agents]);
}

async function npm(cwd, args) {
  say(`npm ${args.join(" ")}`);
  await mustRun(
    "npm",
    [...args, "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error"],
    { timeoutMs: LONG_MS, cwd },
    "The packages could not be installed: see npm's message above.",
  );
}

async function mustImport(archive, tag) {
  await mustRun(
    "docker",
    ["import", archive, tag],
    { timeoutMs: SHORT_MS },
    `Docker could not import ${tag}: see its message above.`,
  );
}

/** A module of the build that `prepare` made. */
function built(...parts) {
  return import(pathToFileURL(join(DIST, "deploy", ...parts)).href);
}

async function withFolder(work) {
  const parent = fromRoot(".berth");
  mkdirSync(parent, { recursive: true });
  const folder = mkdtempSync(join(parent, "image-"));
  try {
    await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function readText(path) {
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}
