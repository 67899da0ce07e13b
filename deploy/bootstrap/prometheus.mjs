/**
 * Prometheus and promtool for the tests of deploy/monitoring: those on the PATH, or those of the distribution's package,
 * which is unpacked into the cache and never installed, so that no service of it starts. Berth itself needs neither.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { isInstalled, run } from "./command.mjs";
import { CACHE, say } from "./place.mjs";

const PROGRAMS = ["prometheus", "promtool"];
/** Where tests look, see test/support/prometheus.ts. */
const FOLDER = join(CACHE, "prometheus");
const UPDATE_TIMEOUT_MS = 3 * 60_000;
const DOWNLOAD_TIMEOUT_MS = 5 * 60_000;
const UNPACK_TIMEOUT_MS = 60_000;

/** Says in one sentence what goes without where they cannot be had. */
export async function ensurePrometheus() {
  if (PROGRAMS.every((name) => isInstalled(name)) || isWhole(FOLDER)) return;
  const reason = isInstalled("apt-get", "dpkg") ? await fetchPackage() : "there is no apt-get";
  if (reason !== undefined) {
    say(`Prometheus cannot be had (${reason}): tests of rules and dashboards are skipped.`);
  }
}

const isWhole = (root) => PROGRAMS.every((name) => existsSync(join(root, "usr", "bin", name)));

/** Resolves with why not. What is unpacked gets its name when it is whole. */
async function fetchPackage() {
  say("fetching Prometheus (apt-get download)");
  mkdirSync(CACHE, { recursive: true });
  const dir = mkdtempSync(join(CACHE, "prometheus-"));
  try {
    if (!(await download(dir))) return "apt-get download failed";
    const deb = readdirSync(dir).find((name) => name.endsWith(".deb"));
    if (deb === undefined) return "apt-get downloaded no package";
    const root = join(dir, "root");
    const options = { timeoutMs: UNPACK_TIMEOUT_MS, quiet: true };
    if ((await run("dpkg", ["-x", join(dir, deb), root], options)) !== 0) return "dpkg failed";
    if (!isWhole(root)) return "the package holds no promtool";
    rmSync(FOLDER, { recursive: true, force: true });
    renameSync(root, FOLDER);
    return undefined;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Only root may fetch new lists; old ones may name a package that is gone. */
async function download(dir) {
  const apt = (args, timeoutMs) =>
    run("apt-get", ["-qq", ...args], { timeoutMs, cwd: dir, quiet: true });
  if (process.getuid?.() === 0) {
    await apt(["-o", "DPkg::Lock::Timeout=60", "update"], UPDATE_TIMEOUT_MS);
  }
  // As root apt would download as a user that may not write here.
  const asOurselves = ["-o", "APT::Sandbox::User=root"];
  return (await apt([...asOurselves, "download", "prometheus"], DOWNLOAD_TIMEOUT_MS)) === 0;
}
