import { stripVTControlCharacters } from "node:util";
import type { Terminal } from "./terminal.ts";

export interface Column<T> {
  readonly title: string;
  readonly align?: "left" | "right";
  /** May be cut with an ellipsis when the screen is too narrow. */
  readonly shrinks?: boolean;
  readonly cell: (row: T) => string;
}

const GAP = "  ";
const SHORTEST = 8;

/** Rows under their titles, columns aligned, cut to the screen's width only where a column allows it. */
export function renderTable<T>(
  columns: readonly Column<T>[],
  rows: readonly T[],
  terminal: Pick<Terminal, "paint" | "width">,
): string {
  const cells = rows.map((row) => columns.map((column) => column.cell(row)));
  const widths = columns.map((column, at) =>
    Math.max(column.title.length, ...cells.map((line) => widthOf(line[at] ?? ""))),
  );
  shrink(columns, widths, terminal.width);
  const line = (texts: readonly string[]) =>
    texts
      .map((text, at) => aligned(text, widths[at] ?? 0, columns[at]?.align ?? "left"))
      .join(GAP)
      .trimEnd();
  const head = terminal.paint("dim", line(columns.map((column) => column.title)));
  return [head, ...cells.map(line)].map((text) => `${text}\n`).join("");
}

/** Takes what is too much from the columns that may shrink, widest first. */
function shrink<T>(columns: readonly Column<T>[], widths: number[], screen: number): void {
  const total = () => widths.reduce((sum, width) => sum + width, GAP.length * (widths.length - 1));
  for (let over = total() - screen; over > 0; over = total() - screen) {
    const candidates = columns
      .map((column, at) => ({ at, width: widths[at] ?? 0, may: column.shrinks === true }))
      .filter(({ may, width }) => may && width > SHORTEST)
      .toSorted((a, b) => b.width - a.width);
    const widest = candidates[0];
    if (widest === undefined) return;
    widths[widest.at] = Math.max(SHORTEST, widest.width - over);
  }
}

function aligned(text: string, width: number, align: "left" | "right"): string {
  const actual = widthOf(text);
  if (actual > width)
    return `${signsOf(text)
      .slice(0, width - 1)
      .join("")}…`;
  const padding = " ".repeat(width - actual);
  return align === "right" ? padding + text : text + padding;
}

function widthOf(text: string): number {
  return signsOf(text).length;
}

const segmenter = new Intl.Segmenter();

/** What a reader sees as single signs, without colour. */
function signsOf(text: string): string[] {
  return Array.from(segmenter.segment(stripVTControlCharacters(text)), ({ segment }) => segment);
}
