import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOT } from "../support/source.ts";

const PAGE = readFileSync(join(ROOT, "docs/guarantees.md"), "utf8");

interface Row {
  readonly guarantee: string;
  readonly promise: string;
  readonly path: string;
  readonly title: string;
}

/** Rows of the page's tables: `| R1 | promise | mechanism | "title", ... (path) ... |`. */
function rowsOf(page: string): Row[] {
  return [...page.matchAll(/^\| (R\d) \| ([^|]+) \| [^|]+ \| ([^|]+) \|$/gm)].flatMap(
    ([, guarantee = "", promise = "", tests = ""]) =>
      [...tests.matchAll(/"([^"]+)" \(`([^`]+)`\)/g)].map(([, title = "", path = ""]) => ({
        guarantee,
        promise,
        path,
        title,
      })),
  );
}

const ROWS = rowsOf(PAGE);

describe("the page of guarantees", () => {
  it("has tests for every guarantee, several each", () => {
    const counted = new Map<string, number>();
    for (const { guarantee } of ROWS) counted.set(guarantee, (counted.get(guarantee) ?? 0) + 1);
    for (let n = 1; n <= 9; n += 1) expect(counted.get(`R${n}`), `R${n}`).toBeGreaterThan(2);
  });

  it("has no row without a test that can be found", () => {
    const lines = PAGE.split("\n").filter((line) => /^\| R\d \|/.test(line));
    expect(lines.filter((line) => rowsOf(line).length === 0)).toEqual([]);
  });

  it("names tests that exist, by their words", () => {
    const missing = ROWS.filter(({ path, title }) => {
      const file = join(ROOT, path);
      return !existsSync(file) || !readFileSync(file, "utf8").includes(title);
    });
    expect(missing).toEqual([]);
  });
});
