import { stripVTControlCharacters } from "node:util";

export type Fact = readonly [name: string, value: string];

/** Names and values of one thing under each other; a value of several lines is indented as a whole. */
export function renderFacts(facts: readonly Fact[]): string {
  const width = Math.max(...facts.map(([name]) => name.length));
  const indent = " ".repeat(width + 2);
  return facts
    .map(([name, value]) => {
      const lines = value.split("\n").map((line) => stripVTControlCharacters(line));
      return `${name.padEnd(width)}  ${lines.join(`\n${indent}`)}\n`;
    })
    .join("");
}
