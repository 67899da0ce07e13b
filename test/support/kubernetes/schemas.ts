/**
 * Kubernetes' own schemas, and those of what is often installed on it: is a value of the type that its field has, and is there such
 * a field at all. The first is asked of the validators of a package, the second of the compiler, by that package's types.
 */
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { z } from "zod";
import { runCommand } from "../../../deploy/nats/command.ts";
import { ROOT } from "../source.ts";
import { type Manifest, nameOf } from "./manifest.ts";

/** `npm test` installs them, see deploy/bootstrap/schemas.mjs. */
const FOLDER = join(ROOT, ".berth", "cache", "schemas");
const COMPILE_MS = 60_000;

/** Group of an API to the package that knows it; all others are Kubernetes' own. */
const PACKAGES: Readonly<Record<string, string>> = {
  "argoproj.io": "argo-cd",
  "cert-manager.io": "cert-manager",
  "trust.cert-manager.io": "cert-manager",
  "external-secrets.io": "external-secrets",
  "monitoring.coreos.com": "prometheus-operator",
  "networking.istio.io": "istio",
};

export const areSchemasHere = () => existsSync(join(FOLDER, "node_modules", "kubernetes-models"));

/** Not of Kubernetes itself. */
export const isForeign = ({ apiVersion }: Manifest) =>
  Object.hasOwn(PACKAGES, apiVersion.split("/")[0] ?? "");

function moduleOf({ apiVersion }: Manifest): string {
  const packaged = PACKAGES[apiVersion.split("/")[0] ?? ""];
  return packaged === undefined
    ? `kubernetes-models/${apiVersion}`
    : `@kubernetes-models/${packaged}/${apiVersion}`;
}

type Model = new (data: unknown) => { validate(): void };
const modelsSchema = z.record(z.string(), z.unknown());

/** What is of the wrong type, out of bounds, or missing, by object. */
export async function schemaFaults(manifests: readonly Manifest[]): Promise<string[]> {
  const found = await Promise.all(
    manifests.map(async (manifest) => {
      const path = join(FOLDER, "node_modules", ...moduleOf(manifest).split("/"), "index.js");
      if (!existsSync(path))
        return [`${nameOf(manifest)}: no API is called ${manifest.apiVersion}`];
      const models = modelsSchema.parse({ ...(await import(pathToFileURL(path).href)) });
      const model = models[manifest.kind] as Model | undefined;
      if (!model) return [`${nameOf(manifest)}: ${manifest.apiVersion} has no such kind`];
      try {
        new model(manifest).validate();
        return [];
      } catch (thrown) {
        return [
          `${nameOf(manifest)}: ${thrown instanceof Error ? thrown.message : String(thrown)}`,
        ];
      }
    }),
  );
  return found.flat();
}

const TSC = join(ROOT, "node_modules", "typescript", "bin", "tsc");
const FLAGS =
  "--ignoreConfig --noEmit --strict --skipLibCheck --target esnext --module nodenext --types".split(
    " ",
  );

/** Fields that there are not, by object: an API server would drop them without a word. */
export async function unknownFields(manifests: readonly Manifest[]): Promise<string[]> {
  // Within the folder, so that its packages are found.
  const dir = await mkdtemp(join(FOLDER, "check-"));
  try {
    const lines = manifests.map(
      (manifest, index) =>
        `export const m${index}: import("${moduleOf(manifest)}").I${manifest.kind} = ${JSON.stringify(manifest)};`,
    );
    await writeFile(join(dir, "manifests.ts"), `${lines.join("\n")}\n`);
    const { code, stdout, stderr } = await runCommand(
      process.execPath,
      [TSC, ...FLAGS, "", "--pretty", "false", "manifests.ts"],
      { timeoutMs: COMPILE_MS, cwd: dir },
    );
    if (code === 0) return [];
    const faults = [...stdout.matchAll(/^manifests\.ts\((\d+),\d+\): error TS\d+: (.*)$/gm)];
    if (faults.length === 0) throw new Error(`the compiler failed: ${stdout}${stderr}`);
    return faults.map(([, line, text = ""]) => {
      const manifest = manifests[Number(line) - 1];
      return `${manifest ? nameOf(manifest) : "?"}: ${text}`;
    });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
