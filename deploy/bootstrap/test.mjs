/** `npm test`: installs what the tests need, runs them, and ends with a line `N passed, N failed`. */
import "./node-version.mjs";
import { mkdirSync, rmSync } from "node:fs";
import { delimiter } from "node:path";
import { AGENTS_PATH, ensureAgents } from "./agents.mjs";
import { run, runMain } from "./command.mjs";
import { ensureNatsServer } from "./nats.mjs";
import { fromRoot, say } from "./place.mjs";
import { prepare } from "./prepare.mjs";
import { summarize } from "./summary.mjs";
import { CHROMIUM, ensureSystemPackages, REDIS } from "./system-packages.mjs";

/** Bounds a run that hangs; single tests have bounds of their own. */
const TIMEOUT_MS = 60 * 60_000;

await runMain(async () => {
  await prepare();
  await ensureNatsServer();
  await ensureSystemPackages([CHROMIUM, REDIS]);
  await ensureAgents();
  const report = fromRoot(".berth", `test-report-${process.pid}.json`);
  mkdirSync(fromRoot(".berth"), { recursive: true });
  const code = await run(process.execPath, vitestArguments(report), {
    timeoutMs: TIMEOUT_MS,
    env: { PATH: `${AGENTS_PATH}${delimiter}${process.env.PATH ?? ""}` },
  });
  const { line, isGreen } = summarize(report, code);
  rmSync(report, { force: true });
  say(line);
  process.exit(isGreen ? 0 : 1);
});

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
