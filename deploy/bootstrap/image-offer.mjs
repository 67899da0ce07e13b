/** Offers to build the image of workers, where Docker answers and has none of this build. Waits for an answer at a terminal only. */
import { createInterface } from "node:readline/promises";
import { engineAnswers, inspectImage } from "../images/docker.mjs";
import { ensureExecutorImage, executorImageState } from "../images/image.mjs";
import { canMakeBase } from "../images/offline-base.mjs";
import { RECIPES, readDockerfile } from "../images/recipes.mjs";
import { run, SetupError } from "./command.mjs";
import { say } from "./place.mjs";

const { tag } = RECIPES.executor;
const COMMAND = '"npm run image -- executor"';
const PULL_MS = 5 * 60_000;

/** Whatever comes of it, Berth can start: without the image, workers are processes. */
export async function offerExecutorImage() {
  const wantsOffline = process.env.BERTH_IMAGE_OFFLINE === "1";
  // Berth's own configuration does not know it, and would ask whether it is misspelt.
  delete process.env.BERTH_IMAGE_OFFLINE;
  if (!isOurs() || !engineAnswers()) return;
  try {
    const state = await executorImageState();
    if (state === "current") return;
    const what = state === "missing" ? "is missing" : "is of another build";
    const line = `Docker answers, and the image of workers ${tag} ${what}`;
    if (!(process.stdin.isTTY && process.stdout.isTTY)) say(`${line}: ${COMMAND} builds it`);
    else if (await isConfirmed(`${line}. Build it now? [Y/n] `)) await build(wantsOffline);
  } catch (thrown) {
    if (!(thrown instanceof SetupError)) throw thrown;
    say(thrown.message);
  }
}

/** Whether Berth would use Docker, and the image that we know how to build. */
function isOurs() {
  const { BERTH_DOCKER_IMAGE: image, BERTH_DRIVER: driver } = process.env;
  return driver !== "process" && (!image || image === tag);
}

/** The end of the input is a no. */
async function isConfirmed(question) {
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  const closed = new Promise((resolve) => terminal.once("close", resolve));
  const answer = await Promise.race([terminal.question(question), closed]);
  terminal.close();
  // Nobody ended the line.
  if (answer === undefined) say("");
  return answer !== undefined && /^\s*(y(es)?)?\s*$/i.test(answer);
}

async function build(wantsOffline) {
  const offline = wantsOffline || ((await isRegistryOut()) && canMakeBase());
  await ensureExecutorImage({ offline });
}

/** Whether the base image is neither here nor to be had. */
async function isRegistryOut() {
  const [, base = ""] = /^ARG BASE_IMAGE=(\S+)$/m.exec(readDockerfile("executor")) ?? [];
  if (inspectImage(base) !== undefined) return false;
  return (await run("docker", ["pull", "--quiet", base], { timeoutMs: PULL_MS })) !== 0;
}
