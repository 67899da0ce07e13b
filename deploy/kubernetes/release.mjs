/**
 * Moves production from one version to the next, by changing its kustomization.yaml: what is then in git is what the cluster is kept to
 * (by Argo CD, or `kubectl apply -k`).
 *
 *   node deploy/kubernetes/release.mjs canary 0.2.0     one gateway of 0.2.0, and a tenth of the traffic for it
 *   node deploy/kubernetes/release.mjs promote          what the canary runs is what everything runs
 *   node deploy/kubernetes/release.mjs rollback         the canary goes, the others stay what they are
 *   node deploy/kubernetes/release.mjs rollback 0.1.0   and everything runs 0.1.0 again
 *
 * With --file of another one than production's.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";

const PRODUCTION = new URL("environments/production/kustomization.yaml", import.meta.url);
const MESH = "  - ../../platform/service-mesh\n";
const CANARY = "  - ../../components/gateway-canary\n";
const CANARY_IMAGE = "berth-gateway-canary";
const IMAGES = ["berth-node", "berth-gateway", "berth-executor"];
const VERSION = /^\d+\.\d+\.\d+(?:-[\w.]+)?$/;

/** Told in one sentence, and nothing is changed. */
class Refusal extends Error {}

/** Each from the file's text to what it is afterwards; the rest of it stays as people wrote it. */
const STEPS = {
  canary(text, version) {
    need(version, "Which version is to be tried?");
    const { line, registry, tag } = imageIn(text, "berth-gateway");
    if (tag === version) throw new Refusal(`${version} is what runs already.`);
    if (!text.includes(MESH)) throw new Refusal("A canary needs the service mesh, see README.md.");
    return withoutCanary(text)
      .replace(MESH, MESH + CANARY)
      .replace(line, (found) => found + lineOf(CANARY_IMAGE, registry, version));
  },
  promote(text) {
    if (!hasCanary(text)) throw new Refusal("There is no canary to promote.");
    const { tag } = imageIn(text, CANARY_IMAGE);
    return atVersion(withoutCanary(text), tag);
  },
  rollback(text, version) {
    if (version !== undefined) need(version, "");
    else if (!hasCanary(text))
      throw new Refusal("There is no canary: name the version to go back to.");
    const left = withoutCanary(text);
    return version === undefined ? left : atVersion(left, version);
  },
};

try {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { file: { type: "string" } },
  });
  const [step = "", version] = positionals;
  const file = values.file ?? PRODUCTION;
  if (!Object.hasOwn(STEPS, step))
    throw new Refusal("One of: canary VERSION, promote, rollback [VERSION]");
  writeFileSync(file, STEPS[step](readFileSync(file, "utf8"), version));
} catch (thrown) {
  if (!(thrown instanceof Refusal)) throw thrown;
  process.stderr.write(`${thrown.message}\n`);
  process.exitCode = 1;
}

function need(version, otherwise) {
  if (version === undefined) throw new Refusal(otherwise);
  if (!VERSION.test(version)) throw new Refusal(`"${version}" is no version such as 0.2.0.`);
}

function lineOf(name, registry, tag) {
  return `  - { name: ${name}, newName: ${registry}, newTag: ${tag} }\n`;
}

/** As it stands in the list of images. */
function imageIn(text, name) {
  const pattern = new RegExp(
    `^ {2}- \\{ name: ${name}, newName: (\\S+), newTag: (\\S+) \\}\\n`,
    "m",
  );
  const [line, registry, tag] = pattern.exec(text) ?? [];
  if (line === undefined)
    throw new Refusal(`The file has no image "${name}" on a line of its own.`);
  return { line, registry, tag };
}

function hasCanary(text) {
  return text.includes(CANARY);
}

function withoutCanary(text) {
  if (!hasCanary(text)) return text;
  return text.replace(CANARY, "").replace(imageIn(text, CANARY_IMAGE).line, "");
}

function atVersion(text, version) {
  return IMAGES.reduce((all, name) => {
    const { line, registry } = imageIn(all, name);
    return all.replace(line, lineOf(name, registry, version));
  }, text);
}
