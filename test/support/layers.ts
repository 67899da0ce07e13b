/** The rules of the architecture as data, and the functions that find what breaks them. */
import { codeOf, importsOf, type SourceFile } from "./source.ts";

const LOWER = ["protocols", "runtime", "actors", "executor", "gateway"] as const;

/** Layer to the layers it may import; each may import itself. */
export const LAYERS: Readonly<Record<string, readonly string[]>> = {
  protocols: [],
  runtime: ["protocols"],
  actors: ["protocols", "runtime"],
  executor: ["protocols", "runtime"],
  gateway: LOWER,
  // The public API: what stands below the composition root.
  "index.ts": LOWER,
  deploy: LOWER,
  bench: [...LOWER, "deploy", "index.ts"],
  examples: [...LOWER, "deploy", "index.ts"],
  test: [...LOWER, "deploy", "index.ts", "bench", "examples", "vitest.config.ts"],
};

const layerOf = (path: string) => path.split("/")[0] ?? "";
const isOurs = (target: string) => Object.hasOwn(LAYERS, layerOf(target));

export interface Edge {
  readonly from: string;
  readonly to: string;
}

/** Imports between our own files. What reaches into `dist` is a start script's and has no layer. */
export function edgesOf(files: readonly SourceFile[]): Edge[] {
  return files.flatMap((file) =>
    importsOf(file)
      .filter(isOurs)
      .map((to) => ({ from: file.path, to })),
  );
}

export function badEdges(edges: readonly Edge[]): string[] {
  return edges
    .filter(({ from, to }) => {
      const [upper, lower] = [layerOf(from), layerOf(to)];
      return upper !== lower && !LAYERS[upper]?.includes(lower);
    })
    .map(({ from, to }) => `${from} imports ${to}`);
}

/** Something that only the named places may use. A place is a file, or a folder that ends in `/`. */
export interface Reserved {
  readonly name: string;
  readonly pattern: RegExp;
  /** Place to the reason. */
  readonly allowed: Readonly<Record<string, string>>;
}

const MEASURES = "measures, or drives what it measures";
const BEFORE = "runs before anything is built";

/** Ways to reach time, chance, the environment and the console. */
export const RESERVED_CODE: readonly Reserved[] = [
  {
    name: "the clock",
    pattern: /\bDate\.now\b|\bnew Date\(\)|\bperformance\.now\b/,
    allowed: {
      "runtime/clock.ts": "the port",
      "deploy/bootstrap/": BEFORE,
      "bench/": MEASURES,
      "test/": MEASURES,
    },
  },
  {
    name: "timers",
    pattern: /\b(?:setTimeout|setInterval)\b/,
    allowed: {
      "runtime/clock.ts": "the port",
      "runtime/testkit/eventually.ts": "keeps its process alive while it waits; the port does not",
      "deploy/bootstrap/": BEFORE,
      "bench/": MEASURES,
      "test/": "the linter forbids sleeping there",
    },
  },
  {
    name: "chance",
    pattern: /\bMath\.random\b/,
    allowed: {
      "deploy/roles.ts": "gives it to nodes, as a collaborator",
      "examples/": "gives it to a node",
      "bench/": MEASURES,
      "test/": MEASURES,
    },
  },
  {
    name: "the environment",
    pattern: /\bprocess\.env\b|\{[^}]*\benv\b[^}]*\}\s*from\b/,
    allowed: {
      "deploy/config.ts": "the one reader",
      "deploy/bootstrap/": BEFORE,
      "executor/main.ts": "the entry of another process, which has only its environment",
      "bench/": "chooses what to measure",
      "examples/": "reads its key",
      "test/": "chooses what to run",
    },
  },
  {
    name: "the console",
    pattern: /\bconsole\.\w/,
    allowed: {
      "deploy/bootstrap/": BEFORE,
      "bench/": "prints its table",
      "examples/": "an example prints",
    },
  },
];

/** Packages that only the named places may import. */
export const RESERVED_PACKAGES: readonly Reserved[] = [
  {
    name: "the broker's client",
    pattern: /^@nats-io\//,
    allowed: {
      "runtime/nats/": "the port's implementation",
      "executor/link.ts": "a worker has core NATS only, and no runtime",
      "deploy/nats/": "asks a server whether it is up",
      "bench/": "raw peers",
      "test/": "attacks and observes a real server",
    },
  },
  {
    name: "container engines",
    pattern: /^(?:dockerode|@kubernetes\/client-node)$/,
    allowed: {
      "executor/drivers/": "a driver knows its engine",
      "bench/": "the engine's own floor",
      "test/": "checks what is left",
    },
  },
  {
    name: "the HTTP server",
    pattern: /^(?:@?fastify|ws$)/,
    allowed: { "gateway/": "speaks HTTP", "bench/": "raw peers", "test/": "stubs and clients" },
  },
];

/** Uses outside the allowed places, as `file:line`. */
export function badUses(files: readonly SourceFile[], rule: Reserved): string[] {
  return files
    .filter(({ path }) => !isAllowed(rule, path))
    .flatMap(({ path, text }) =>
      codeOf(text)
        .split("\n")
        .flatMap((line, i) =>
          rule.pattern.test(line) ? [`${path}:${i + 1} uses ${rule.name}`] : [],
        ),
    );
}

export function badPackages(files: readonly SourceFile[], rule: Reserved): string[] {
  return files
    .filter(({ path }) => !isAllowed(rule, path))
    .flatMap((file) =>
      importsOf(file)
        .filter((name) => rule.pattern.test(name))
        .map((name) => `${file.path} imports ${name}`),
    );
}

function isAllowed(rule: Reserved, path: string): boolean {
  return Object.keys(rule.allowed).some((place) =>
    place.endsWith("/") ? path.startsWith(place) : path === place,
  );
}
