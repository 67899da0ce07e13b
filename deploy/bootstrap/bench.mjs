/** `npm run bench`: installs what the benchmarks and their peers need, then runs them with the arguments given. */
import "./node-version.mjs";
import { join } from "node:path";
import { run, runMain } from "./command.mjs";
import { ensureNatsServer } from "./nats.mjs";
import { ensurePeers } from "./peers.mjs";
import { DIST } from "./place.mjs";
import { prepare } from "./prepare.mjs";
import { ensureSystemPackages, REDIS } from "./system-packages.mjs";

const TIMEOUT_MS = 2 * 60 * 60_000;

await runMain(async () => {
  await prepare();
  await ensureNatsServer();
  await ensureSystemPackages([REDIS]);
  await ensurePeers();
  const main = join(DIST, "bench", "main.js");
  const code = await run(process.execPath, [main, ...process.argv.slice(2)], {
    timeoutMs: TIMEOUT_MS,
  });
  process.exit(code ?? 1);
});
