/** The docker command, as far as images need it. */
import { spawnSync } from "node:child_process";
import { mustRun, SetupError } from "../bootstrap/command.mjs";

const ANSWER_MS = 60_000;
/** `npm start` waits no longer to find out that there is none. */
const HELLO_MS = 10_000;
const IMPORT_MS = 5 * 60_000;
const BUILD_MS = 30 * 60_000;

/** Standard output of a docker command; undefined when it failed. An engine that does not answer in time throws. */
export function tryDocker(args, timeoutMs = ANSWER_MS) {
  const { error, status, stdout } = spawnSync("docker", args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
    timeout: timeoutMs,
    killSignal: "SIGKILL",
  });
  if (error?.code === "ETIMEDOUT") throw new SetupError("Docker takes too long to answer.");
  return status === 0 ? stdout.trim() : undefined;
}

export function engineAnswers() {
  try {
    return tryDocker(["version", "--format", "{{.Server.Version}}"], HELLO_MS) !== undefined;
  } catch {
    return false;
  }
}

/** `{ labels, bytes }`; undefined when there is no such image. */
export function inspectImage(image) {
  const text = tryDocker(["image", "inspect", image]);
  if (text === undefined) return undefined;
  const [{ Config: config, Size: bytes }] = JSON.parse(text);
  return { bytes, labels: config?.Labels ?? {} };
}

export async function buildTagged({ tag, dockerfile, settings, context, quiet }) {
  // A client without the plugin would ask for it, although these Dockerfiles need nothing of it.
  const hasBuildKit = tryDocker(["buildx", "version"]) !== undefined;
  await mustRun(
    "docker",
    [
      ...["build", ...(quiet ? ["--quiet"] : []), "--file", dockerfile, "--tag", tag],
      ...Object.entries(settings).flatMap(([name, value]) => ["--build-arg", `${name}=${value}`]),
      context,
    ],
    { timeoutMs: BUILD_MS, env: hasBuildKit ? {} : { DOCKER_BUILDKIT: "0" }, quiet },
    "The image could not be built: see Docker's message above.",
  );
  removeReplaced(tag);
}

/**
 * Images of ours that lost their tag to a newer one, unless a container is of them: else each change of a source would
 * leave one. Only those older than `tag`: one that is built beside it may not have its tag yet.
 */
function removeReplaced(tag) {
  const filters = ["dangling=true", "label=berth.build", `before=${tag}`];
  const list = ["image", "ls", "--quiet", ...filters.flatMap((one) => ["--filter", one])];
  const replaced = tryDocker(list) ?? "";
  for (const id of replaced.split("\n").filter((line) => line !== "")) tryDocker(["rmi", id]);
}

/** The archive becomes an image of one layer. */
export async function mustImport(archive, tag) {
  await mustRun(
    "docker",
    ["import", archive, tag],
    { timeoutMs: IMPORT_MS, quiet: true },
    `Docker could not import ${tag}: see its message above.`,
  );
}
