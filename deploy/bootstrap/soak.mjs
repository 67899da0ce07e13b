/** `npm run soak`: installs what is needed, an engine among it, then kills containers, nodes and the engine under load. */
import "./node-version.mjs";
import { ensureExecutorImage } from "../images/image.mjs";
import { canMakeBase } from "../images/offline-base.mjs";
import { runMain, SetupError } from "./command.mjs";
import { ensureDockerEngine } from "./docker-engine.mjs";
import { ensureNatsServer } from "./nats.mjs";
import { fromRoot } from "./place.mjs";
import { prepare } from "./prepare.mjs";

const IMAGE = "berth-executor-test";

await runMain(async () => {
  await prepare();
  await ensureNatsServer();
  const engine = await ensureDockerEngine();
  if (engine === undefined) throw new SetupError("A soak needs a Docker Engine.");
  await ensureExecutorImage({ tag: IMAGE, offline: canMakeBase() });
  process.env.BERTH_TEST_EXECUTOR_IMAGE = IMAGE;
  if (engine.isOwn) process.env.BERTH_TEST_ENGINE = "own";
  // In this process, so that a Ctrl-C finds the one that has to clean up.
  await import("tsx");
  await import(fromRoot("test", "soak", "main.ts"));
});
