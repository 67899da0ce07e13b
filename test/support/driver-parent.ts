/** A process that starts one worker and then waits to be killed: the node's part in the adoption test. */
import { ProcessDriver } from "../../executor/drivers/process.ts";
import type { WorkerSpec } from "../../protocols/executor.ts";
import { systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { WORKER_COMMAND } from "./process-driver-rig.ts";

const { dataDir, natsUrl, spec } = JSON.parse(process.argv[2] ?? "") as {
  dataDir: string;
  natsUrl: string;
  spec: WorkerSpec;
};
const driver = await ProcessDriver.open({
  dataDir,
  command: WORKER_COMMAND,
  env: { PATH: process.env["PATH"] ?? "" },
  clock: systemClock,
  log: silentLogger,
});
await driver.start(spec, { natsUrl, partitions: 64 });
process.stdout.write("started\n");
// Lives until it is killed: its standard input is a pipe that never ends.
process.stdin.resume();
