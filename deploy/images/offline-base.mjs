/** A base image where no image registry is reached: of the distribution's packages and this machine's Node. */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { isInstalled, mustRun, SetupError } from "../bootstrap/command.mjs";
import { DIST, say } from "../bootstrap/place.mjs";
import { ensureSystemPackages } from "../bootstrap/system-packages.mjs";
import { inspectImage, mustImport } from "./docker.mjs";
import { withFolder } from "./folder.mjs";

const MMDEBSTRAP = {
  name: "mmdebstrap",
  programs: ["mmdebstrap"],
  without: "no base image can be made",
};
const PACKAGES = ["git", "curl", "ca-certificates", "python3", "util-linux", "iptables"];
const LEFT_OUT = ["doc", "man", "locale"];
const TIMEOUT_MS = 15 * 60_000;

/** Whether it can be tried at all: it needs root, and a relative of Debian. */
export const canMakeBase = () => process.getuid?.() === 0 && isInstalled("apt-get");

/** The tag that `ensureBase` gives; made once for each Node, release of the distribution and list of packages. */
export function baseTag() {
  // Another list of packages is another image.
  const packages = createHash("sha256").update(PACKAGES.join()).digest("hex").slice(0, 8);
  return `berth-base:${release()}-node${process.versions.node}-${packages}`;
}

/** Remove the image to have it made again. */
export async function ensureBase() {
  const tag = baseTag();
  if (inspectImage(tag) !== undefined) return tag;
  await ensureSystemPackages([MMDEBSTRAP]);
  say(`making ${tag} of ${release()}'s packages (minutes, once)`);
  await withFolder(async (folder) => {
    const sources = join(folder, "base.sources");
    const archive = join(folder, "base.tar");
    writeFileSync(sources, await sourcesOf(release()));
    await mustRun(
      "mmdebstrap",
      [
        ...["--quiet", "--variant=minbase", `--include=${PACKAGES.join(",")}`],
        ...LEFT_OUT.map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`),
        `--customize-hook=upload ${realpathSync(process.execPath)} /usr/local/bin/node`,
        "--customize-hook=chmod 0755 $1/usr/local/bin/node",
        ...[release(), archive, sources],
      ],
      { timeoutMs: TIMEOUT_MS },
      "The base image could not be made: see mmdebstrap's message above (it needs root).",
    );
    await mustImport(archive, tag);
  });
  return tag;
}

function release() {
  const name = /^VERSION_CODENAME="?(\w+)"?$/m.exec(readText("/etc/os-release"))?.[1];
  if (name === undefined) throw new SetupError("This machine's distribution names no release.");
  return name;
}

/** The machine's own sources of this release, its updates and security fixes, in deb822. */
async function sourcesOf(release) {
  const module = pathToFileURL(join(DIST, "deploy", "nats", "apt-sources.js")).href;
  const { formatSource, parseDeb822, parseOneLine } = await import(module);
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

function readText(path) {
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}
