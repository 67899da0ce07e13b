/** `npm test`: installs what the tests need, runs them, and ends with a line `N passed, N failed`. */
import "./node-version.mjs";
import { mkdirSync, rmSync } from "node:fs";
import { delimiter } from "node:path";
import { ensureExecutorImage } from "../images/image.mjs";
import { canMakeBase } from "../images/offline-base.mjs";
import { AGENTS_PATH, ensureAgents } from "./agents.mjs";
import { run, runMain } from "./command.mjs";
import { ensureCompose } from "./compose.mjs";
import { ensureDockerEngine } from "./docker-engine.mjs";
import { ensureKustomize } from "./kustomize.mjs";
import { ensureNatsServer } from "./nats.mjs";
import { fromRoot, say } from "./place.mjs";
import { prepare } from "./prepare.mjs";
import { ensurePrometheus } from "./prometheus.mjs";
import { ensureSchemas } from "./schemas.mjs";
import { summarize } from "./summary.mjs";
import { CHROMIUM, ensureSystemPackages, OPENSSL, REDIS } from "./system-packages.mjs";

/** Bounds a run that hangs; single tests have bounds of their own. */
const TIMEOUT_MS = 60 * 60_000;
const EXECUTOR_IMAGE = "berth-executor-test";
const NOTHING = "0 passed, 1 failed";

await runMain(async () => {
  await prepare();
  await ensureNatsServer();
  await ensureSystemPackages([CHROMIUM, OPENSSL, REDIS]);
  await ensurePrometheus();
  await ensureKustomize();
  await ensureSchemas();
  await ensureCompose();
  await ensureAgents();
  const engine = await ensureDockerEngine();
  try {
    // Where everything has to be tested, nothing that can be had is skipped.
    if (engine === undefined && process.env.CI) return end({ line: NOTHING, isGreen: false });
    end(await runTests(engine === undefined ? {} : await dockerSettings(engine)));
  } finally {
    await engine?.stop();
  }
});

function end({ line, isGreen }) {
  say(line);
  process.exitCode = isGreen ? 0 : 1;
}

/** Builds the image of workers, and says to the tests what it is called. */
async function dockerSettings({ isOwn }) {
  const offline = canMakeBase();
  await ensureExecutorImage({ tag: EXECUTOR_IMAGE, offline });
  return {
    BERTH_TEST_DOCKER: offline ? "1" : "registry",
    BERTH_TEST_EXECUTOR_IMAGE: EXECUTOR_IMAGE,
    // One that was here before us is not ours to kill.
    ...(isOwn ? { BERTH_TEST_ENGINE: "own" } : {}),
  };
}

async function runTests(settings) {
  const report = fromRoot(".berth", `test-report-${process.pid}.json`);
  mkdirSync(fromRoot(".berth"), { recursive: true });
  const code = await run(process.execPath, vitestArguments(report), {
    isMain: true,
    timeoutMs: TIMEOUT_MS,
    env: { ...settings, PATH: `${AGENTS_PATH}${delimiter}${process.env.PATH ?? ""}` },
  });
  const summary = summarize(report, code);
  rmSync(report, { force: true });
  return summary;
}

function vitestArguments(report) {
  return [
    fromRoot("node_modules", "vitest", "vitest.mjs"),
    "run",
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${report}`,
    ...process.argv.slice(2),
  ];
}
