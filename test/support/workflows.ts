/** GitHub's workflows: what its own parser says of them, and what we demand besides. Everything as sentences. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build as bundle } from "esbuild";
import { parse } from "yaml";
import { z } from "zod";
import { runCommand } from "../../deploy/nats/command.ts";
import { ROOT } from "./source.ts";

const FOLDER = join(ROOT, ".github", "workflows");
const PARSER = join(
  ROOT,
  ".berth/cache/schemas/node_modules/@actions/workflow-parser/dist/index.js",
);
const BASH_MS = 10_000;

const stepSchema = z.looseObject({
  uses: z.string().optional(),
  run: z.string().optional(),
  with: z.looseObject({ file: z.string().optional() }).default({}),
});
const jobSchema = z.looseObject({
  uses: z.string().optional(),
  "timeout-minutes": z.number().optional(),
  steps: z.array(stepSchema).default(() => []),
});
const workflowSchema = z.looseObject({
  permissions: z.record(z.string(), z.string()).optional(),
  jobs: z.record(z.string(), jobSchema),
});

export interface Workflow {
  readonly name: string;
  readonly text: string;
}

export const readWorkflows = (): Workflow[] =>
  readdirSync(FOLDER).map((name) => ({ name, text: readFileSync(join(FOLDER, name), "utf8") }));

interface Parser {
  parseWorkflow(
    file: { readonly name: string; readonly content: string },
    trace: unknown,
  ): { readonly context: unknown; readonly value: unknown };
  convertWorkflowTemplate(context: unknown, value: unknown): Promise<unknown>;
}
const convertedSchema = z.looseObject({
  errors: z.array(z.looseObject({ Message: z.string() })).optional(),
});

let loaded: Promise<Parser> | undefined;

/** It is made to be bundled: by itself Node does not load the JSON that it imports. */
function bundledParser(): Promise<Parser> {
  loaded ??= bundleParser();
  return loaded;
}

async function bundleParser(): Promise<Parser> {
  const folder = await mkdtemp(join(tmpdir(), "berth-workflow-parser-"));
  try {
    const outfile = join(folder, "parser.mjs");
    const options = { bundle: true, format: "esm", platform: "browser", outfile } as const;
    await bundle({ entryPoints: [PARSER], ...options });
    return (await import(pathToFileURL(outfile).href)) as Parser;
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** As workflows write it. */
export const expression = (what: string) => `$\{{ ${what} }}`;
const FILE_OF_IMAGE = expression("matrix.file");

/** By GitHub's own parser, expressions and contexts too. */
export async function parserFaults({ name, text }: Workflow): Promise<string[]> {
  const parser = await bundledParser();
  const silent = { info: () => undefined, verbose: () => undefined, error: () => undefined };
  const { context, value } = parser.parseWorkflow({ name, content: text }, silent);
  const { errors = [] } = convertedSchema.parse(
    await parser.convertWorkflowTemplate(context, value),
  );
  return errors.map(({ Message }) => `${name}: ${Message}`);
}

export async function workflowFaults(workflow: Workflow): Promise<string[]> {
  const { permissions, jobs } = workflowSchema.parse(parse(workflow.text));
  const steps = Object.values(jobs).flatMap((job) => job.steps);
  const scripts = steps.flatMap(({ run }) => (run === undefined ? [] : [run]));
  const faults = [
    ...(Object.values(permissions ?? { all: "write" }).includes("write")
      ? ["may write more than one job needs"]
      : []),
    ...Object.entries(jobs)
      .filter(([, job]) => job.uses === undefined && job["timeout-minutes"] === undefined)
      .map(([id]) => `${id} may hang for hours`),
    ...usesFaults(workflow.text),
    ...scripts.flatMap(scriptFaults),
    ...steps.flatMap(({ with: { file } }) => pathFaults(file ?? "")),
    ...(await Promise.all(scripts.map(shellFaults))).flat(),
  ];
  return faults.map((fault) => `${workflow.name}: ${fault}`);
}

/** Somebody else's code: by its commit, with the version that it is beside it; or a file of ours. */
function usesFaults(text: string): string[] {
  return [...text.matchAll(/^\s*(?:- )?uses: (.+)$/gm)].flatMap(([, use = ""]) => {
    if (use.startsWith("./")) return existsSync(join(ROOT, use)) ? [] : [`there is no ${use}`];
    return /^[\w-]+\/[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/.test(use)
      ? []
      : [`${use} is not pinned`];
  });
}

const packageSchema = z.looseObject({ scripts: z.record(z.string(), z.string()) });
const NPM_OWN = new Set(["ci", "test", "install", "start"]);

function scriptFaults(script: string): string[] {
  const { scripts } = packageSchema.parse(
    JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")),
  );
  const called = [...script.matchAll(/\bnpm (?:run (?:-\S+ )*)?([\w:-]+)/g)].map(
    ([, name = ""]) => name,
  );
  return [
    // What somebody types or names becomes a part of the script: it goes by the environment instead.
    ...(/\$\{\{/.test(script) ? ["a script has an expression in it"] : []),
    ...called
      .filter((name) => !Object.hasOwn(scripts, name) && !NPM_OWN.has(name))
      .map((name) => `there is no npm script ${name}`),
    ...[...script.matchAll(/\b(?:node|bash) (\.?[\w/.-]+\/[\w.-]+)/g)].flatMap(([, path = ""]) =>
      pathFaults(path),
    ),
  ];
}

function pathFaults(path: string): string[] {
  // One for each image.
  const names = path.includes(FILE_OF_IMAGE)
    ? ["executor", "node", "gateway", "all-in-one"].map((name) =>
        path.replace(FILE_OF_IMAGE, `${name}.Dockerfile`),
      )
    : [path];
  return names
    .filter((name) => name !== "" && !existsSync(join(ROOT, name)))
    .map((name) => `there is no ${name}`);
}

async function shellFaults(script: string): Promise<string[]> {
  const { code, stderr } = await runCommand("bash", ["-n", "-c", script], { timeoutMs: BASH_MS });
  return code === 0 ? [] : [`bash does not take a script: ${stderr.trim()}`];
}
