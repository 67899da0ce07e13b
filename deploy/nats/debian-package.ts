/**
 * A program from the distribution's newest suite, without touching the system: a source list, package
 * lists and a download folder of our own; the package is unpacked, never installed. Needs no root.
 */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  type AptSource,
  decideMirror,
  formatSource,
  parseDeb822,
  parseOneLine,
} from "./apt-sources.ts";
import { type CommandResult, runCommand } from "./command.ts";

const UPDATE_TIMEOUT_MS = 180_000;
const DOWNLOAD_TIMEOUT_MS = 120_000;
const UNPACK_TIMEOUT_MS = 60_000;

/** Hooks that a system runs after apt want root and other people's folders; these runs have none. */
const APT_CONFIG = `#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
`;

export interface DebianOptions {
  /** Its package has the same name. */
  readonly program: string;
  /** Where the work is done; what is in it is removed afterwards. */
  readonly cacheDir: string;
  /** `/etc`, unless a test has its own. */
  readonly etcDir?: string;
}

/** Calls `take` with the unpacked program while it is there; resolves with why not when there is none. */
export async function withDebianProgram(
  options: DebianOptions,
  report: (line: string) => void,
  take: (binary: string) => Promise<void>,
): Promise<string | undefined> {
  const { program } = options;
  const source = await findMirror(options.etcDir ?? "/etc");
  if (source === undefined) return "apt names no mirror of a distribution";
  const { suite, component } = decideSuite(source);
  await mkdir(options.cacheDir, { recursive: true });
  const dir = await mkdtemp(join(options.cacheDir, "apt-"));
  try {
    await writeFile(join(dir, "berth.sources"), formatSource(source, suite, component));
    await writeFile(join(dir, "apt.conf"), APT_CONFIG);
    await mkdir(join(dir, "lists", "partial"), { recursive: true });
    await mkdir(join(dir, "archives", "partial"), { recursive: true });
    report(`reading the package list of "${suite}" from ${source.uris[0]}`);
    const update = await apt(dir, ["update"], UPDATE_TIMEOUT_MS);
    if (update.code !== 0) return `apt-get update failed: ${lastLine(update)}`;
    report(`downloading the ${program} package`);
    const download = await apt(dir, ["download", program], DOWNLOAD_TIMEOUT_MS);
    if (download.code !== 0) return `apt-get download failed: ${lastLine(download)}`;
    const unpacked = await unpack(dir, program);
    if (typeof unpacked !== "string") return unpacked.reason;
    await take(unpacked);
    return undefined;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Debian's newest suite is `sid`; Ubuntu's is `devel`, where the package is in `universe`. */
export function decideSuite(source: AptSource): { suite: string; component: string } {
  const isUbuntu = source.uris.some((uri) => /\bubuntu(-ports)?\b/.test(uri));
  return isUbuntu ? { suite: "devel", component: "universe" } : { suite: "sid", component: "main" };
}

async function findMirror(etcDir: string): Promise<AptSource | undefined> {
  const aptDir = join(etcDir, "apt");
  const parts = join(aptDir, "sources.list.d");
  const names = (await readdir(parts).catch(() => [])).toSorted(byName);
  const files = [join(aptDir, "sources.list"), ...names.map((name) => join(parts, name))];
  const sources = await Promise.all(files.map(readSources));
  const release = await readText(join(etcDir, "os-release"));
  const codename = /^VERSION_CODENAME="?(\w+)"?$/m.exec(release)?.[1];
  return decideMirror(sources.flat(), codename);
}

async function readSources(file: string): Promise<AptSource[]> {
  if (file.endsWith(".sources")) return parseDeb822(await readText(file));
  if (file.endsWith(".list")) return parseOneLine(await readText(file));
  return [];
}

const byName = (a: string, b: string) => (a < b ? -1 : 1);

function readText(file: string): Promise<string> {
  return readFile(file, "utf8").catch(() => "");
}

function apt(dir: string, args: readonly string[], timeoutMs: number): Promise<CommandResult> {
  const settings = {
    "Dir::Etc::sourcelist": join(dir, "berth.sources"),
    "Dir::Etc::sourceparts": "-",
    "Dir::Etc::preferences": "-",
    "Dir::Etc::preferencesparts": "-",
    "Dir::State::lists": join(dir, "lists"),
    "Dir::Cache": dir,
    "Dir::Cache::archives": join(dir, "archives"),
    "Acquire::Languages": "none",
    "Acquire::PDiffs": "false",
    "Acquire::Retries": "1",
    // Without it a mirror that does not answer is only a warning.
    "APT::Update::Error-Mode": "any",
    "Acquire::http::Timeout": "20",
    "Acquire::https::Timeout": "20",
    // As root apt would download as a user that may not enter this folder.
    "APT::Sandbox::User": "root",
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
  return runCommand("apt-get", ["-q", "-c", join(dir, "apt.conf"), ...flags, ...args], {
    timeoutMs,
    cwd: dir,
  });
}

async function unpack(dir: string, program: string): Promise<string | { readonly reason: string }> {
  const deb = (await readdir(dir)).find((name) => name.endsWith(".deb"));
  if (deb === undefined) return { reason: "apt-get downloaded no package" };
  const root = join(dir, "root");
  const result = await runCommand("dpkg", ["-x", join(dir, deb), root], {
    timeoutMs: UNPACK_TIMEOUT_MS,
  });
  if (result.code !== 0) return { reason: `dpkg failed: ${lastLine(result)}` };
  for (const folder of ["usr/sbin", "usr/bin"]) {
    const names = await readdir(join(root, folder)).catch(() => [] as string[]);
    if (names.includes(program)) return join(root, folder, program);
  }
  return { reason: `the package holds no ${program}` };
}

function lastLine(result: CommandResult): string {
  const lines = `${result.stdout}\n${result.stderr}`.trim().split("\n");
  return lines.find((line) => line.startsWith("E:")) ?? lines.at(-1) ?? "no output";
}
