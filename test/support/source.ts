/** Reads the project's own sources for the architecture test: files, their imports, their code without comments. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { fileURLToPath } from "node:url";

export interface SourceFile {
  /** From the root of the repository, with `/`. */
  readonly path: string;
  readonly text: string;
}

export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

const SOURCE = /\.(?:ts|mjs|js)$/;

/** Every source file under these folders or of these names; a folder that does not exist has none. */
export function readSources(names: readonly string[]): SourceFile[] {
  return names.flatMap((name) =>
    SOURCE.test(name)
      ? [{ path: name, text: readFileSync(join(ROOT, name), "utf8") }]
      : readFolder(name),
  );
}

function readFolder(folder: string): SourceFile[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && SOURCE.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length + 1))
    .filter((path) => !path.includes("node_modules"))
    .map((path) => ({ path, text: readFileSync(join(ROOT, path), "utf8") }));
}

/** The text with comments and the contents of strings blanked; code in a template's `${}` stays. Lines stay as they were. */
export function codeOf(text: string): string {
  return blank(text, () => "");
}

function blank(text: string, placeholder: (literal: string) => string): string {
  let code = "";
  for (const { 0: whole, groups } of text.matchAll(TOKENS)) {
    if (groups?.["comment"] !== undefined) code += whole.replaceAll(/[^\n]/g, " ");
    else if (groups?.["template"] !== undefined) code += blankTemplate(whole);
    else if (groups?.["string"] !== undefined) code += `"${placeholder(whole.slice(1, -1))}"`;
    else code += whole;
  }
  return code;
}

/** A regular expression is one only where an operand may stand, else `/` divides. */
const TOKENS = new RegExp(
  [
    /(?<comment>\/\/[^\n]*|\/\*[\s\S]*?\*\/)/,
    /(?<template>`(?:\\.|[^`\\])*`)/,
    /(?<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')/,
    /(?<regex>(?<=(?:^|[(,=:[!&|?{};\n]|\breturn)\s*)\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\/[a-z]*)/,
    /[\s\S]/,
  ]
    .map((part) => part.source)
    .join("|"),
  "gm",
);

function blankTemplate(literal: string): string {
  const parts = [...literal.matchAll(/\$\{([^}]*)\}|\n/g)];
  return `\`${parts.map((part) => part[0]).join("")}\``;
}

const IMPORTS = [
  /\b(?:import|export)\s[^;"]*?\bfrom\s*"(\d+)"/g,
  /\bimport\s*"(\d+)"/g,
  /\bimport\(\s*"(\d+)"/g,
];

/** What a file imports, types included: relative ones as paths from the root, others as they are written. */
export function importsOf(file: SourceFile): string[] {
  const strings: string[] = [];
  // Numbers stand for strings while statements are looked for, so that what a string says is no statement.
  const code = blank(file.text, (literal) => String(strings.push(literal) - 1));
  return IMPORTS.flatMap((pattern) => [...code.matchAll(pattern)])
    .map(([, index]) => strings[Number(index)] ?? "")
    .map((name) => (name.startsWith(".") ? posix.join(posix.dirname(file.path), name) : name));
}
