/**
 * The notes of a release: what CHANGELOG.md says of it, on standard output. `node deploy/release-notes.mjs 0.2.0`, or `unreleased`
 * for what comes next; a second argument names another file. A version of which nothing is said is no release, and ends with 1.
 */
import { readFileSync } from "node:fs";

const CHANGELOG = new URL("../CHANGELOG.md", import.meta.url);

const [version, file = CHANGELOG] = process.argv.slice(2);
const notes = version && sectionOf(readFileSync(file, "utf8"), version.replace(/^v/, ""));
if (notes) process.stdout.write(`${notes}\n`);
else {
  const what = version ? `CHANGELOG.md says nothing of ${version}` : "Of which version?";
  process.stderr.write(`${what}\n`);
  process.exitCode = 1;
}

/** Without its heading; undefined when there is none, or nothing below it. */
function sectionOf(text, name) {
  const sections = text.split(/^## /m).slice(1);
  const found = sections.find((section) => {
    const [, title] = /^\[([^\]]+)\]/.exec(section) ?? [];
    return title?.toLowerCase() === name.toLowerCase();
  });
  // References of links stand at the file's end, below the last section.
  const body = found?.replace(/^.*\n/, "").replaceAll(/^\[[^\]]+\]: .*\n?/gm, "");
  return body?.trim() || undefined;
}
