/** The process of one worker: `node dist/executor/main.js`, told by its environment, or in part by its standard input. */
import { asBerthError } from "../protocols/errors.ts";
import { systemClock } from "../runtime/clock.ts";
import { healthPortOf, parseExecutorConfig } from "./config.ts";
import { Container } from "./container.ts";
import { ON_STANDARD_INPUT, readIdentity, takeIdentity, WAITS_FOR_IDENTITY } from "./identity.ts";
import { lineLogger } from "./log.ts";
import { runWorker } from "./worker.ts";

const log = lineLogger(
  (line) => process.stderr.write(line),
  () => systemClock.now(),
);
const asked = new AbortController();
for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => asked.abort());

try {
  const port = healthPortOf(process.env);
  // Loading an HTTP server would make each worker that needs none start later.
  const health =
    port === undefined ? undefined : await (await import("./health.ts")).Health.open(port);
  const identity = await identityFrom(process.env["BERTH_IDENTITY"]);
  const config = parseExecutorConfig(process.env, identity);
  const worker = log.child({ worker: config.worker });
  const container = config.workspace.isolated ? Container.own(config, systemClock) : undefined;
  await runWorker({
    ...{ config, log: worker, health, container },
    clock: systemClock,
    signal: asked.signal,
  });
  process.exitCode = 0;
} catch (thrown) {
  log.error({ error: asBerthError(thrown).message }, "the worker failed");
  process.exitCode = asked.signal.aborted ? 0 : 1;
}
// Handles that something left open must not keep a worker alive that has ended.
process.exit();

function identityFrom(place: string | undefined) {
  if (place === undefined || place === "") return undefined;
  if (place !== ON_STANDARD_INPUT) return takeIdentity(place);
  process.stdout.write(`${WAITS_FOR_IDENTITY}\n`);
  return readIdentity(process.stdin, asked.signal);
}
