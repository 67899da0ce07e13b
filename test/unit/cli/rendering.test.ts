import { stripVTControlCharacters } from "node:util";
import { describe, expect, test } from "vitest";
import { humaneAgo, humaneBytes, humaneDuration } from "../../../deploy/cli/humane.ts";
import { type Column, renderTable } from "../../../deploy/cli/table.ts";
import { oneLine } from "../../../deploy/cli/terminal.ts";
import { terminalDouble } from "./terminal-double.ts";

interface Row {
  readonly name: string;
  readonly count: number;
}

const COLUMNS: readonly Column<Row>[] = [
  { title: "NAME", cell: (row) => row.name, shrinks: true },
  { title: "COUNT", align: "right", cell: (row) => String(row.count) },
];

describe("a table", () => {
  test("columns are as wide as their widest cell, numbers stand right", () => {
    const rows = [
      { name: "a", count: 5 },
      { name: "longer name", count: 1_234_567 },
    ];
    const text = renderTable(COLUMNS, rows, terminalDouble().terminal);
    expect(text.split("\n")).toEqual([
      "NAME           COUNT",
      "a                  5",
      "longer name  1234567",
      "",
    ]);
  });

  test("a narrow screen cuts only columns that may shrink", () => {
    const text = renderTable(
      COLUMNS,
      [{ name: "a name that is far too long", count: 42 }],
      terminalDouble({ width: 20 }).terminal,
    );
    expect(text.split("\n")[1]).toBe("a name that …     42");
  });

  test("colour does not count as width", () => {
    const { terminal } = terminalDouble({ color: true });
    const columns: readonly Column<Row>[] = [
      { title: "NAME", cell: (row) => terminal.paint("red", row.name) },
      { title: "COUNT", cell: (row) => String(row.count) },
    ];
    const plain = renderTable(columns, [{ name: "abcdef", count: 1 }], terminal).split("\n")[1];
    expect(stripVTControlCharacters(plain ?? "")).toBe("abcdef  1");
  });
});

describe("text of someone else", () => {
  test("escape sequences, line breaks and direction marks cannot repaint the screen", () => {
    expect(oneLine("a\u001b[2Jb\nc\u202ed")).toBe("a [2Jb c d");
  });
});

describe("colour", () => {
  test("is left out where it is not wanted", () => {
    expect(terminalDouble({ color: false }).terminal.paint("red", "x")).toBe("x");
    expect(terminalDouble({ color: true }).terminal.paint("red", "x")).toContain("\u001b[31m");
  });
});

describe("humane times", () => {
  test.each([
    [0, "0ms"],
    [850, "850ms"],
    [4_240, "4.2s"],
    [9_990, "10s"],
    [59_700, "1m"],
    [200_000, "3m 20s"],
    [7_500_000, "2h 5m"],
    [529_200_000, "6d 3h"],
  ])("%i ms reads %s", (ms, text) => {
    expect(humaneDuration(ms)).toBe(text);
  });

  test("a clock that is behind ours does not give times in the future", () => {
    expect(humaneAgo(10_000, 9_000)).toBe("now");
    expect(humaneAgo(0, 3 * 3_600_000)).toBe("3h ago");
  });

  test("bytes are binary units", () => {
    expect(humaneBytes(512)).toBe("512 B");
    expect(humaneBytes(1.5 * 1_024 ** 3)).toBe("1.5 GiB");
  });
});
