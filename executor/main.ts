/** The process of one worker: `node dist/executor/main.js`, told everything by its environment. */
import { readFileSync } from "node:fs";
import { asBerthError } from "../protocols/errors.ts";
import { systemClock } from "../runtime/clock.ts";
import { FROM_STANDARD_INPUT, parseExecutorConfig } from "./config.ts";
import { lineLogger } from "./log.ts";
import { runWorker } from "./worker.ts";

const log = lineLogger(
  (line) => process.stderr.write(line),
  () => systemClock.now(),
);
const asked = new AbortController();
for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => asked.abort());

try {
  const isHidden = process.env["BERTH_NATS_URL"] === FROM_STANDARD_INPUT;
  const url = isHidden ? { BERTH_NATS_URL: readFileSync(0, "utf8") } : {};
  const config = parseExecutorConfig({ ...process.env, ...url });
  const worker = log.child({ worker: config.worker });
  await runWorker({ config, clock: systemClock, log: worker, signal: asked.signal });
  process.exitCode = 0;
} catch (thrown) {
  log.error({ error: asBerthError(thrown).message }, "the worker failed");
  process.exitCode = 1;
}
// Handles that something left open must not keep a worker alive that has ended.
process.exit();
