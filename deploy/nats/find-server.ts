/**
 * Finds a nats-server that is new enough: on the PATH, in the local cache, in the archive that the
 * configuration pins, in the distribution's newest package. A running server given by `BERTH_NATS_URL` comes
 * before all of these and needs no search.
 */
import { chmod, copyFile, mkdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { BerthError } from "../../protocols/errors.ts";
import { withDebianProgram } from "./debian-package.ts";
import { type Archive, withArchiveServer } from "./release-archive.ts";
import { isNewEnough, MIN_SERVER_VERSION, tryServerVersion } from "./server-version.ts";

export interface FindServerOptions {
  /** Where a fetched server is kept, such as `.berth/cache`. */
  readonly cacheDir: string;
  readonly archive?: Archive | undefined;
  /** Whether the distribution's package may be downloaded (default true). */
  readonly packages?: boolean;
  /** Programs tried first (default: on the PATH, and where Debian installs it). */
  readonly installed?: readonly string[];
}

export interface FoundServer {
  readonly binary: string;
  readonly version: string;
  readonly origin: "installed" | "cache" | "archive" | "package";
}

const INSTALLED = ["nats-server", "/usr/sbin/nats-server"];

/** `report` gets a line for people at each slow step. Throws `broker.not_found` with one sentence that says what to do. */
export async function findNatsServer(
  options: FindServerOptions,
  report: (line: string) => void = () => {},
): Promise<FoundServer> {
  const misses: string[] = [];
  for (const binary of options.installed ?? INSTALLED) {
    const version = await tryServerVersion(binary);
    if (version === undefined) continue;
    if (isNewEnough(version)) return { binary, version, origin: "installed" };
    misses.push(`${binary} is ${version}`);
  }
  const cached = cachedServer(options.cacheDir);
  const version = await tryServerVersion(cached);
  if (version !== undefined && isNewEnough(version)) {
    return { binary: cached, version, origin: "cache" };
  }
  return (await fetchServer(options, report, misses)) ?? fail(misses);
}

/** Where a fetched server is kept. */
export function cachedServer(cacheDir: string): string {
  return join(cacheDir, "nats", "nats-server");
}

async function fetchServer(
  options: FindServerOptions,
  report: (line: string) => void,
  misses: string[],
): Promise<FoundServer | undefined> {
  const keep = (binary: string) => moveIntoCache(binary, options.cacheDir);
  const { archive, cacheDir } = options;
  if (archive !== undefined) {
    report(`fetching nats-server from ${new URL(archive.url).host || "a local archive"}`);
    const miss = await withArchiveServer(archive, cacheDir, keep).catch(reason);
    if (miss === undefined) return await inCache(options, "archive");
    misses.push(miss);
  }
  if (options.packages === false) return undefined;
  const miss = await withDebianProgram({ program: "nats-server", cacheDir }, report, keep).catch(
    reason,
  );
  if (miss === undefined) return await inCache(options, "package");
  misses.push(miss);
  return undefined;
}

function reason(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

async function inCache(
  { cacheDir }: FindServerOptions,
  origin: FoundServer["origin"],
): Promise<FoundServer> {
  const binary = cachedServer(cacheDir);
  return { binary, version: (await tryServerVersion(binary)) ?? MIN_SERVER_VERSION, origin };
}

/** Throws a sentence when the program does not start here or is too old; otherwise puts it in place in one step. */
async function moveIntoCache(binary: string, cacheDir: string): Promise<void> {
  await chmod(binary, 0o755);
  const version = await tryServerVersion(binary);
  if (version === undefined) throw new Error("the fetched nats-server does not start here");
  if (!isNewEnough(version)) throw new Error(`the fetched nats-server is ${version}`);
  const target = cachedServer(cacheDir);
  await mkdir(dirname(target), { recursive: true });
  const draft = `${target}.${process.pid}`;
  try {
    await copyFile(binary, draft);
    await rename(draft, target);
  } finally {
    await rm(draft, { force: true });
  }
}

function fail(misses: readonly string[]): never {
  const tried = misses.length === 0 ? "" : ` (${misses.join("; ")})`;
  throw new BerthError(
    "broker.not_found",
    `No nats-server of version ${MIN_SERVER_VERSION} or newer was found or could be fetched${tried}: install one on the PATH, or set BERTH_NATS_URL to a running one.`,
  );
}
