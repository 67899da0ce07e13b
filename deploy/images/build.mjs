/**
 * `npm run image`: all images, or those that are named. Options: `--offline` for a machine that reaches no image registry
 * (see `offline.mjs`), `--agents "PACKAGE..."` for other command line tools of agents than an image has by itself (`""`
 * for none), `--tag NAME` for one image, `--suffix TEXT` behind the names of all.
 */
import "../bootstrap/node-version.mjs";
import { parseArgs } from "node:util";
import { runMain, SetupError } from "../bootstrap/command.mjs";
import { say } from "../bootstrap/place.mjs";
import { engineAnswers } from "./docker.mjs";
import { buildImages } from "./image.mjs";
import { RECIPES, takesAgents } from "./recipes.mjs";

await runMain(async () => {
  const { agents, names, offline, suffix, tag } = readOptions();
  if (!engineAnswers()) {
    throw new SetupError("Docker does not answer: install it, start it, and try again.");
  }
  const images = names.map((name) => ({
    name,
    tag: tag ?? `${RECIPES[name].tag}${suffix}`,
    agents: (takesAgents(name) && agents) || RECIPES[name].agents,
  }));
  await buildImages(images, { offline });
  say("docs/docker.md says how to run them");
});

function readOptions() {
  const { positionals, values } = parse();
  const names = positionals.length === 0 ? Object.keys(RECIPES) : positionals;
  const unknown = names.find((name) => !Object.hasOwn(RECIPES, name));
  if (unknown !== undefined) {
    throw new SetupError(
      `There is no image "${unknown}"; there are ${Object.keys(RECIPES).join(", ")}.`,
    );
  }
  if (values.tag !== undefined && names.length > 1) {
    throw new SetupError("Name one image to give it a tag.");
  }
  const agents = values.agents?.split(" ").filter((name) => name !== "");
  return { ...values, agents, names };
}

function parse() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        offline: { type: "boolean", default: false },
        agents: { type: "string" },
        suffix: { type: "string", default: "" },
        tag: { type: "string" },
      },
    });
  } catch (thrown) {
    throw new SetupError(thrown.message, { cause: thrown });
  }
}
