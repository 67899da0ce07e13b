import { stripVTControlCharacters } from "node:util";

/** Names and values of one thing under each other; a value of several lines is indented as a whole. */
export function renderFacts(facts: readonly (readonly [name: string, value: string])[]): string {
  const width = Math.max(...facts.map(([name]) => name.length));
  const indent = " ".repeat(width + 2);
  return facts
    .map(([name, value]) => {
      const lines = value.split("\n").map((line) => stripVTControlCharacters(line));
      return `${name.padEnd(width)}  ${lines.join(`\n${indent}`)}\n`;
    })
    .join("");
}
