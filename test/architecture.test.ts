/** Layers and ports. A rule that finds nothing to look at fails too: a scanner that reads no file is always green. */
import { describe, expect, it } from "vitest";
import {
  badEdges,
  badPackages,
  badUses,
  edgesOf,
  LAYERS,
  RESERVED_CODE,
  RESERVED_PACKAGES,
} from "./support/layers.ts";
import { codeOf, importsOf, readSources, type SourceFile } from "./support/source.ts";

const MAX_LINES = 350;
/** Longer files, each with the reason. */
const LONGER: Readonly<Record<string, string>> = {};

/** The dashboard runs in a browser: it has the browser's clock and imports only its own files. */
const isBrowser = ({ path }: SourceFile) => path.startsWith("gateway/dashboard/");

const files = readSources(Object.keys(LAYERS)).filter((file) => !isBrowser(file));
const browser = readSources(["gateway/dashboard"]);
const edges = edgesOf(files);

describe("layers", () => {
  it("are all read, with the edges between them", () => {
    for (const layer of ["protocols", "runtime", "actors", "executor", "gateway", "deploy"]) {
      expect(files.some(({ path }) => path.startsWith(`${layer}/`))).toBe(true);
    }
    const crossing = edges.filter(({ from, to }) => from.split("/")[0] !== to.split("/")[0]);
    expect(crossing.length).toBeGreaterThan(100);
    expect(edges).toContainEqual({ from: "runtime/actor.ts", to: "protocols/protocol.ts" });
  });

  it("import downwards only", () => {
    expect(badEdges(edges)).toEqual([]);
  });

  it("import files that exist", () => {
    const paths = new Set(files.map(({ path }) => path));
    const missing = edges.filter(({ to }) => /\.(?:ts|mjs|js)$/.test(to) && !paths.has(to));
    expect(missing.filter(({ to }) => !to.startsWith("gateway/dashboard/"))).toEqual([]);
  });

  it("keep I/O out of the protocols: they import zod and nothing else", () => {
    const foreign = files
      .filter(({ path }) => path.startsWith("protocols/"))
      .flatMap((file) => importsOf(file).filter((name) => !name.startsWith("protocols/")));
    expect([...new Set(foreign)]).toEqual(["zod"]);
  });

  it("keep the dashboard apart: it imports files of its own", () => {
    const foreign = browser.flatMap((file) =>
      importsOf(file).filter((name) => !name.startsWith("gateway/dashboard/")),
    );
    expect(browser.length).toBeGreaterThan(5);
    expect(foreign).toEqual([]);
  });
});

describe("ports", () => {
  it.each(RESERVED_CODE)("leave $name to the places that are named", (rule) => {
    expect(badUses(files, rule)).toEqual([]);
  });

  it.each(RESERVED_PACKAGES)("leave $name to the places that are named", (rule) => {
    expect(badPackages(files, rule)).toEqual([]);
  });

  it("have their implementations where the rules say", () => {
    const clock = files.filter(({ path }) => path === "runtime/clock.ts");
    const everywhere = (name: string) => ({
      ...RESERVED_CODE.find((rule) => rule.name === name)!,
      allowed: {},
    });
    expect(badUses(clock, everywhere("the clock")).length).toBeGreaterThan(0);
    expect(badUses(clock, everywhere("timers")).length).toBeGreaterThan(0);
  });
});

describe("files", () => {
  it(`have at most ${MAX_LINES} lines`, () => {
    const long = [...files, ...browser]
      .filter(({ path }) => !path.startsWith("test/") && !Object.hasOwn(LONGER, path))
      .map(({ path, text }) => ({ path, lines: text.split("\n").length - 1 }))
      .filter(({ lines }) => lines > MAX_LINES);
    expect(long).toEqual([]);
  });

  it("are excused by name only while they need it", () => {
    const short = Object.keys(LONGER).filter((path) => {
      const file = files.find((candidate) => candidate.path === path);
      return file === undefined || file.text.split("\n").length - 1 <= MAX_LINES;
    });
    expect(short).toEqual([]);
  });
});

describe("the scanner", () => {
  const planted = (path: string, text: string): SourceFile => ({ path, text });

  it("finds a planted edge of each spelling", () => {
    const bad = [
      planted("actors/a.ts", 'import { x } from "../executor/x.ts";'),
      planted("runtime/b.ts", 'import type { Y } from "../actors/y.ts";'),
      planted("protocols/c.ts", 'export * from "../runtime/z.ts";'),
      planted("executor/d.ts", 'const m = await import("../gateway/m.ts");'),
      planted("gateway/e.ts", 'import "../deploy/e.ts";'),
      planted("executor/drivers/f.ts", 'import {\n  a,\n  b,\n} from "../../actors/g.ts";'),
    ];
    expect(badEdges(edgesOf(bad))).toEqual([
      "actors/a.ts imports executor/x.ts",
      "runtime/b.ts imports actors/y.ts",
      "protocols/c.ts imports runtime/z.ts",
      "executor/d.ts imports gateway/m.ts",
      "gateway/e.ts imports deploy/e.ts",
      "executor/drivers/f.ts imports actors/g.ts",
    ]);
  });

  it("takes neither a comment nor a string for an import or a use", () => {
    const file = planted(
      "runtime/a.ts",
      '// import { x } from "../actors/x.ts";\n/* Date.now() */ const s = "Date.now()";\n',
    );
    expect(edgesOf([file])).toEqual([]);
    for (const rule of RESERVED_CODE) expect(badUses([file], rule)).toEqual([]);
  });

  it("finds a planted use, with its line", () => {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is source text.
    const text = 'const quote = /"/;\nconst t = `${Date.now()}`;\nsetTimeout(f, 1);\n';
    const file = planted("actors/a.ts", text);
    expect(RESERVED_CODE.flatMap((rule) => badUses([file], rule))).toEqual([
      "actors/a.ts:2 uses the clock",
      "actors/a.ts:3 uses timers",
    ]);
  });

  it("keeps lines where they were", () => {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is source text.
    const text = 'a; // one\n/* two\nthree */ b;\nconst c = `x\n${d}\ny`;\n"e";\n';
    expect(codeOf(text).split("\n")).toHaveLength(text.split("\n").length);
  });

  it("finds a package in a place that is not named", () => {
    const file = planted("actors/a.ts", 'import { connect } from "@nats-io/transport-node";');
    expect(RESERVED_PACKAGES.flatMap((rule) => badPackages([file], rule))).toEqual([
      "actors/a.ts imports @nats-io/transport-node",
    ]);
  });
});
