/**
 * `npm run image`: the image `berth` from `all-in-one.Dockerfile`. Options: `--offline` for a machine that reaches no
 * image registry (see `offline.mjs`), `--agents "PACKAGE..."` to put agents' command line tools in, `--tag NAME`.
 */
import "../bootstrap/node-version.mjs";
import { parseArgs } from "node:util";
import { mustRun, runMain, SetupError } from "../bootstrap/command.mjs";
import { fromRoot, ROOT, say } from "../bootstrap/place.mjs";
import { answers } from "./docker.mjs";
import { withOffline } from "./offline.mjs";

const DOCKERFILE = fromRoot("deploy", "images", "all-in-one.Dockerfile");
const BUILD_TIMEOUT_MS = 30 * 60_000;

await runMain(async () => {
  const { agents, offline, tag } = readOptions();
  if (!answers(["version"])) {
    throw new SetupError("Docker does not answer: install it, start it, and try again.");
  }
  const tools = agents.split(" ").filter((name) => name !== "");
  if (offline) await withOffline(tools, (context, settings) => build(tag, context, settings));
  else await build(tag, ROOT, tools.length === 0 ? [] : [`AGENTS=${tools.join(" ")}`]);
  say(`built ${tag}; docs/docker.md says how to run it`);
});

async function build(tag, context, settings) {
  // A client without the plugin would ask for it, although this Dockerfile needs nothing of it.
  const hasBuildKit = answers(["buildx", "version"]);
  await mustRun(
    "docker",
    [
      ...["build", "--file", DOCKERFILE, "--tag", tag],
      ...settings.flatMap((setting) => ["--build-arg", setting]),
      context,
    ],
    { timeoutMs: BUILD_TIMEOUT_MS, env: hasBuildKit ? {} : { DOCKER_BUILDKIT: "0" } },
    "The image could not be built: see Docker's message above.",
  );
}

function readOptions() {
  try {
    return parseArgs({
      options: {
        offline: { type: "boolean", default: false },
        agents: { type: "string", default: "" },
        tag: { type: "string", default: "berth" },
      },
    }).values;
  } catch (thrown) {
    throw new SetupError(thrown.message, { cause: thrown });
  }
}
