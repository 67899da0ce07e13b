import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { STREAMS } from "../../protocols/subjects.ts";
import { ROOT, readSources } from "../support/source.ts";

const PAGES = [".", "docs"]
  .flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: folder !== ".", encoding: "utf8" }).map((name) =>
      join(folder, name),
    ),
  )
  .filter((path) => path.endsWith(".md"))
  .map((path) => ({ path, text: readFileSync(join(ROOT, path), "utf8") }));

const withoutCode = (text: string) => text.replaceAll(/```[\s\S]*?```|`[^`\n]*`/g, "");

describe("the pages", () => {
  it("are all found: a glob that matches nothing links to nothing", () => {
    expect(PAGES.map(({ path }) => path)).toEqual(
      expect.arrayContaining(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/errors.md"]),
    );
  });

  it("link to files that exist", () => {
    const broken = PAGES.flatMap(({ path, text }) =>
      [...withoutCode(text).matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)]
        .map(([, target = ""]) => target)
        .filter((target) => !/^[a-z]+:/.test(target))
        .filter((target) => !existsSync(join(ROOT, dirname(path), target)))
        .map((target) => `${path} links to ${target}`),
    );
    expect(broken).toEqual([]);
  });

  it("name only tests that are there in the threat model", () => {
    const page = PAGES.find(({ path }) => path === "docs/security.md")!.text;
    const named = [...page.matchAll(/`(?:test\/)?((?:unit|integration|fuzz)\/[\w/-]+)`/g)];
    expect(named.length).toBeGreaterThan(15);
    const isThere = (name: string) =>
      ["", ".test.ts"].some((end) => existsSync(join(ROOT, "test", name + end)));
    expect(named.map(([, name = ""]) => name).filter((name) => !isThere(name))).toEqual([]);
  });

  it("name only variables and streams that are there", () => {
    const code = readSources(["deploy", "executor"])
      .map(({ text }) => text)
      .join("\n");
    const known = new Set([
      ...Object.values(STREAMS),
      ...[...code.matchAll(/\bBERTH_[A-Z_0-9]+\b/g)].map(([name]) => name),
    ]);
    const unknown = PAGES.flatMap(({ path, text }) =>
      [...text.matchAll(/\bBERTH_[A-Z][A-Z_0-9]*\b/g)]
        .filter(([name]) => !known.has(name))
        .map(([name]) => `${path} names ${name}`),
    );
    expect(unknown).toEqual([]);
  });

  it("show of the test kit only what stands in examples that run", () => {
    const examples = readSources(["examples"])
      .map(({ text }) => text)
      .join("\n");
    const testing = PAGES.find(({ path }) => path === "docs/testing.md")!.text;
    const snippets = [...testing.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code = ""]) => code);
    expect(snippets.length).toBeGreaterThan(3);
    expect(snippets.filter((code) => !examples.includes(code))).toEqual([]);
  });

  it("name only scripts that package.json has", () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
      scripts: Record<string, string>;
    };
    const missing = PAGES.flatMap(({ path, text }) =>
      [...text.matchAll(/\bnpm run ([a-z:]+)/g)]
        .filter(([, name = ""]) => !Object.hasOwn(scripts, name))
        .map(([, name]) => `${path} runs ${name}`),
    );
    expect(missing).toEqual([]);
  });
});
