/** The checks of `berth doctor`: each looks at one thing and says what to do where it is not right. */
import { execFile } from "node:child_process";
import { readdir, statfs } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { z } from "zod";
import { identitySchema } from "../../protocols/api.ts";
import { asBerthError } from "../../protocols/errors.ts";
import { findDevFile } from "./dev-file.ts";
import type { Gateway } from "./gateway.ts";
import { humaneBytes } from "./humane.ts";

export interface Finding {
  readonly check: string;
  readonly status: "ok" | "warn" | "fail";
  readonly detail: string;
  /** What to do about it. */
  readonly remedy?: string;
}

export const MIN_NODE = [20, 19, 0] as const;
export const MIN_NATS = [2, 12, 0] as const;
const DISK_WARN_BYTES = 2 * 1024 ** 3;
const DISK_FAIL_BYTES = 256 * 1024 ** 2;
const COMMAND_MS = 10_000;
const WORKERS_ELSEWHERE: Readonly<Record<string, string>> = {
  docker: "containers",
  kubernetes: "pods",
};

/** The first three numbers of a version, wherever they stand in the text. */
export function versionIn(text: string): readonly number[] | undefined {
  return /(\d+)\.(\d+)\.(\d+)/.exec(text)?.slice(1).map(Number);
}

export function isAtLeast(version: readonly number[], least: readonly number[]): boolean {
  const at = least.findIndex((number, index) => version[index] !== number);
  return at === -1 || (version[at] ?? 0) > (least[at] ?? 0);
}

export function checkNode(version: string): Finding {
  const good = isAtLeast(versionIn(version) ?? [], MIN_NODE);
  const found = { check: "node", detail: version };
  return good
    ? { ...found, status: "ok" }
    : { ...found, status: "fail", remedy: `install Node ${MIN_NODE.join(".")} or newer` };
}

export async function checkNatsServer(cwd: string): Promise<Finding> {
  const candidates = ["nats-server", ...(await cachedServers(cwd))];
  const versions = await Promise.all(candidates.map((command) => outputOf(command, ["--version"])));
  const found = versions.find((text) => isAtLeast(versionIn(text ?? "") ?? [], MIN_NATS));
  if (found !== undefined) return { check: "nats-server", status: "ok", detail: found };
  const old = versions.find((text) => text !== undefined);
  return {
    check: "nats-server",
    status: "warn",
    detail: old === undefined ? "not found" : `${old} is too old`,
    remedy: `"npm start" fetches one; or install ${MIN_NATS.slice(0, 2).join(".")} or newer, or set BERTH_NATS_URL`,
  };
}

/** Servers that were fetched into `.berth/cache` here or beside the development file. */
async function cachedServers(cwd: string): Promise<string[]> {
  const found = await findDevFile(cwd).catch(() => undefined);
  const base = found === undefined ? join(cwd, ".berth") : join(found.path, "..");
  const cache = join(base, "cache");
  const names = await readdir(cache, { recursive: true }).catch(() => []);
  return names.filter((name) => /(^|\/)nats-server$/.test(name)).map((name) => join(cache, name));
}

export async function checkDevFile(cwd: string): Promise<Finding> {
  try {
    const found = await findDevFile(cwd);
    if (found !== undefined) return { check: "dev.json", status: "ok", detail: found.path };
    const remedy = 'run "npm start", or use BERTH_URL and BERTH_KEY';
    return { check: "dev.json", status: "warn", detail: "none at or above this folder", remedy };
  } catch (error) {
    return {
      check: "dev.json",
      status: "fail",
      detail: asBerthError(error).message,
      remedy: 'run "npm start" again',
    };
  }
}

export async function checkGateway(connect: () => Promise<Gateway>): Promise<Finding> {
  try {
    const gateway = await connect();
    await gateway.get("/readyz", z.unknown());
    const { tenant, user, scope } = await gateway.get("/v1/me", identitySchema);
    const who = tenant === null ? `${scope} ${user}` : `${tenant}/${user}`;
    return {
      check: "gateway",
      status: "ok",
      detail: `${gateway.url} is ready, signed in as ${who}`,
    };
  } catch (thrown) {
    const error = asBerthError(thrown);
    const isKey = error.code.startsWith("auth.");
    return {
      check: "gateway",
      status: "fail",
      detail: `${error.message} (${error.code})`,
      remedy: isKey
        ? "give a valid key with BERTH_KEY or --key-stdin"
        : 'start it with "npm start", or check --url',
    };
  }
}

export async function checkDisk(folder: string): Promise<Finding> {
  const { bavail, bsize } = await statfs(folder);
  return judgeDisk(bavail * bsize, folder);
}

export function judgeDisk(free: number, folder: string): Finding {
  const found = { check: "disk", detail: `${humaneBytes(free)} free in ${folder}` };
  if (free >= DISK_WARN_BYTES) return { ...found, status: "ok" };
  const remedy = "free some space: workspaces and the event log live here";
  return { ...found, status: free < DISK_FAIL_BYTES ? "fail" : "warn", remedy };
}

/** The agents' tools are looked for where workers have them: on this machine, or in an image that is not ours to look into. */
export async function checkAgents(cwd: string): Promise<Finding[]> {
  const driver = (await findDevFile(cwd).catch(() => undefined))?.content.driver;
  const elsewhere = WORKERS_ELSEWHERE[driver ?? ""];
  if (elsewhere !== undefined) {
    const detail = `${elsewhere} (driver ${driver}); agents are those of their image`;
    return [{ check: "workers", status: "ok", detail }];
  }
  return await Promise.all([
    checkAgent("claude", "@anthropic-ai/claude-code"),
    checkAgent("codex", "@openai/codex"),
  ]);
}

async function checkAgent(agent: string, npmPackage: string): Promise<Finding> {
  const version = await outputOf(agent, ["--version"]);
  const check = `agent ${agent}`;
  if (version !== undefined) return { check, status: "ok", detail: version };
  return {
    check,
    status: "warn",
    detail: "its command line tool is not installed",
    remedy: `npm install -g ${npmPackage} (jobs for it fail with agent.unavailable)`,
  };
}

/** The first line that a command prints; undefined when it cannot be run. */
async function outputOf(command: string, args: readonly string[]): Promise<string | undefined> {
  try {
    const { stdout, stderr } = await promisify(execFile)(command, args, { timeout: COMMAND_MS });
    return (stdout || stderr).split("\n")[0]?.trim();
  } catch {
    return undefined;
  }
}
