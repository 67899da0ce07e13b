import { BerthError } from "../../protocols/errors.ts";
import { findDevFile } from "./dev-file.ts";

/** The variables that the command line reads. */
export interface ClientEnvironment {
  readonly key: string | undefined;
  readonly url: string | undefined;
  /** NO_COLOR is set to anything but nothing. */
  readonly noColor: boolean;
}

/** Which gateway a command talks to, and as whom. */
export interface Target {
  readonly url: string;
  readonly key: string;
}

export interface TargetOptions {
  readonly url?: string | undefined;
  readonly key?: string | undefined;
  readonly keyStdin?: boolean | undefined;
  /** Names a key of `.berth/dev.json`: free, pro, enterprise or operator. */
  readonly tier?: string | undefined;
}

interface TargetSources {
  readonly environment: ClientEnvironment;
  readonly cwd: string;
  readonly readStdin: () => Promise<string>;
}

/**
 * Finds the gateway and the key: what was given, then the environment, then `.berth/dev.json`.
 * `usual` is the development key that serves the command best. Throws `auth.missing` with the ways
 * to give a key.
 */
export async function resolveTarget(
  options: TargetOptions,
  usual: string,
  sources: TargetSources,
): Promise<Target> {
  const { environment } = sources;
  refuseTwoKeys(options);
  const given = options.keyStdin === true ? (await sources.readStdin()).trim() : options.key;
  if (given === "") throw new BerthError("auth.missing", "the key that was given is empty");
  const key = given ?? (options.tier === undefined ? environment.key : undefined);
  const url = options.url ?? environment.url;
  if (key !== undefined && url !== undefined) return { url: checkedUrl(url), key };
  const found = await findDevFile(sources.cwd);
  const chosen = checkedUrl(url ?? found?.content.url ?? missingUrl());
  // A key of the development file is told to no other gateway than the one that it was made for.
  const keys: Readonly<Record<string, string>> =
    found !== undefined && checkedUrl(found.content.url) === chosen ? found.content.keys : {};
  return {
    url: chosen,
    key: key ?? keys[options.tier ?? usual] ?? missingKey(options.tier, found?.path),
  };
}

function refuseTwoKeys(options: TargetOptions): void {
  const ways = [options.key !== undefined, options.keyStdin === true, options.tier !== undefined];
  if (ways.filter(Boolean).length < 2) return;
  throw new BerthError("config.invalid", "give only one of --key, --key-stdin and --tier");
}

function checkedUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url !== undefined && /^https?:$/.test(url.protocol)) return text.replace(/\/+$/, "");
  throw new BerthError("config.invalid", `"${text}" is not an http:// or https:// URL`);
}

function missingUrl(): never {
  throw new BerthError(
    "config.invalid",
    'no gateway is known: run "npm start" in this folder or above it, or set BERTH_URL or --url',
  );
}

function missingKey(tier: string | undefined, path: string | undefined): never {
  throw new BerthError(
    "auth.missing",
    tier !== undefined && path !== undefined
      ? `${path} holds no key named "${tier}"`
      : "no API key is known: set BERTH_KEY, give --key or --key-stdin, or run in a folder with .berth/dev.json",
  );
}
