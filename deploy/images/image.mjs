/** Images, built with or without an image registry. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { DIST, fromRoot, ROOT, readJson, say } from "../bootstrap/place.mjs";
import { prepare } from "../bootstrap/prepare.mjs";
import { buildTagged, inspectImage } from "./docker.mjs";
import { withOffline } from "./offline.mjs";
import { baseTag } from "./offline-base.mjs";
import { dockerfileOf, RECIPES, readDockerfile, takesAgents } from "./recipes.mjs";

const RECIPE_LABEL = "berth.recipe";
const MEGABYTE = 1_000_000;

/**
 * `images`: of each its `name`, one of `RECIPES`, its `tag`, and `agents`, packages of agents' command line tools as npm
 * names them. `quiet`: tells no steps.
 */
export async function buildImages(images, { offline, quiet = false }) {
  await prepare();
  const build = async ({ name, tag, agents }, context, settings) => {
    const labels = await labelSettings({ name, agents, offline });
    const dockerfile = dockerfileOf(name);
    await buildTagged({ tag, dockerfile, context, quiet, settings: { ...settings, ...labels } });
    const { bytes } = inspectImage(tag);
    say(`built ${tag} (${Math.round(bytes / MEGABYTE)} MB)`);
  };
  if (offline) return await withOffline(images, build);
  for (const image of images) {
    const { agents, name } = image;
    await build(image, ROOT, takesAgents(name) ? { AGENTS: agents.join(" ") } : {});
  }
}

async function labelSettings({ name, agents, offline }) {
  return {
    VERSION: readJson(fromRoot("package.json")).version,
    BUILD: await ownBuild(),
    ...(name === "executor" ? { RECIPE: await executorRecipe({ agents, offline }) } : {}),
  };
}

/** Builds the image of workers unless it is what would come of it. */
export async function ensureExecutorImage({
  tag = RECIPES.executor.tag,
  agents = RECIPES.executor.agents,
  offline = false,
} = {}) {
  await prepare();
  const recipe = await executorRecipe({ agents, offline });
  if (inspectImage(tag)?.labels[RECIPE_LABEL] === recipe) return;
  say(`building ${tag}`);
  await buildImages([{ name: "executor", tag, agents }], { offline, quiet: true });
}

/** Of the image of workers: `missing`, `other` when its program is of other sources than what is built here, or `current`. */
export async function executorImageState(tag = RECIPES.executor.tag) {
  const image = inspectImage(tag);
  if (image === undefined) return "missing";
  const { BUILD_LABEL } = await builds();
  return image.labels[BUILD_LABEL] === (await ownBuild()) ? "current" : "other";
}

/** Digest of all that it is made of. */
async function executorRecipe({ agents, offline }) {
  const parts = [readDockerfile("executor"), agents, offline ? baseTag() : "", await ownBuild()];
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex");
}

const ownBuild = async () => (await builds()).executorBuild();

const builds = () =>
  import(pathToFileURL(join(DIST, "deploy", "images", "executor-build.js")).href);
