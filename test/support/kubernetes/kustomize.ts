/**
 * What kustomize makes of the folders of deploy/. `npm test` fetches it; without it tests skip themselves, loudly, but never where
 * everything has to be tested.
 */
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { describe } from "vitest";
import { runCommand } from "../../../deploy/nats/command.ts";
import { ROOT } from "../source.ts";
import { type Manifest, parseManifests } from "./manifest.ts";
import { areSchemasHere } from "./schemas.ts";

const FETCHED = join(ROOT, ".berth", "cache", "kustomize");
const BUILD_MS = 30_000;

const folder = [...(process.env["PATH"] ?? "").split(delimiter), FETCHED].find((path) =>
  existsSync(join(path, "kustomize")),
);
const isWanted = (folder !== undefined && areSchemasHere()) || (process.env["CI"] ?? "") !== "";

/** As `describe`, for tests that need kustomize and the schemas. */
export function describeKustomize(name: string, body: () => void): void {
  const what = "no kustomize or no schemas here; npm test fetches them";
  describe.skipIf(!isWanted)(isWanted ? name : `${name} (SKIPPED: ${what})`, body);
}

const built = new Map<string, Promise<string>>();

/** The YAML of a folder below deploy/, made once. Rejects with what kustomize says. */
export function buildText(path: string): Promise<string> {
  const known = built.get(path) ?? run(join(ROOT, "deploy", path));
  built.set(path, known);
  return known;
}

async function run(path: string): Promise<string> {
  if (folder === undefined) throw new Error("there is no kustomize, and none could be fetched");
  const { code, stdout, stderr } = await runCommand(join(folder, "kustomize"), ["build", path], {
    timeoutMs: BUILD_MS,
  });
  if (code !== 0) throw new Error(`kustomize build ${path}: ${stderr}`);
  return stdout;
}

/** Objects of one's own: to be changed as one likes. */
export const build = async (path: string): Promise<Manifest[]> =>
  parseManifests(await buildText(path));

/** Of a tree elsewhere. */
export const buildAt = async (path: string): Promise<Manifest[]> => parseManifests(await run(path));
