/** Ends the process with one sentence when this Node is too old, before anything newer is loaded. */
import { fromRoot, readJson } from "./place.mjs";

const wanted = readJson(fromRoot("package.json")).engines.node.replace(/^>=/, "");

if (!isAtLeast(process.versions.node, wanted)) {
  console.error(
    `Berth needs Node ${wanted} or newer, and this is Node ${process.versions.node}: install a newer one from nodejs.org or your distribution.`,
  );
  process.exit(1);
}

function isAtLeast(version, least) {
  const [have, need] = [version, least].map((text) => text.split(".").map(Number));
  for (let place = 0; place < need.length; place += 1) {
    if (have[place] !== need[place]) return have[place] > need[place];
  }
  return true;
}
