/** `npm run bench`: installs what the benchmarks and their peers need, then runs them with the arguments given. */
import "./node-version.mjs";
import { join } from "node:path";
import { ensureExecutorImage } from "../images/image.mjs";
import { canMakeBase } from "../images/offline-base.mjs";
import { run, runMain } from "./command.mjs";
import { ensureDockerEngine } from "./docker-engine.mjs";
import { ensureNatsServer } from "./nats.mjs";
import { ensurePeers } from "./peers.mjs";
import { DIST } from "./place.mjs";
import { prepare } from "./prepare.mjs";
import { ensureSystemPackages, REDIS } from "./system-packages.mjs";

const IMAGE = "berth-executor-test";
const TIMEOUT_MS = 2 * 60 * 60_000;

await runMain(async () => {
  await prepare();
  await ensureNatsServer();
  await ensureSystemPackages([REDIS]);
  await ensurePeers();
  const engine = await ensureDockerEngine("containers are not measured");
  try {
    process.exitCode = await measure(engine);
  } finally {
    await engine?.stop();
  }
});

async function measure(engine) {
  if (engine) await ensureExecutorImage({ tag: IMAGE, offline: canMakeBase() });
  const main = join(DIST, "bench", "main.js");
  const code = await run(process.execPath, [main, ...process.argv.slice(2)], {
    isMain: true,
    timeoutMs: TIMEOUT_MS,
    env: engine ? { BERTH_BENCH_IMAGE: IMAGE } : {},
  });
  return code ?? 1;
}
