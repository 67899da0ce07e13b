/** The process driver with real workers, run from source. */
import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ProcessDriver } from "../../executor/drivers/process.ts";
import { systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import type { DriverRig } from "../conformance/driver.ts";
import { type Broker, NodeDouble } from "./executor-rig.ts";

const SOURCE = join(import.meta.dirname, "../../executor/main.ts");

export function pidOf(dataDir: string, worker: string): number {
  const state = JSON.parse(readFileSync(join(dataDir, "workers", `${worker}.json`), "utf8")) as {
    process: { pid: number };
  };
  return state.process.pid;
}

export const WORKER_COMMAND = [
  process.execPath,
  "--import",
  import.meta.resolve("tsx"),
  SOURCE,
] as const;

export async function processDriverRig(
  broker: Broker,
): Promise<DriverRig & { readonly dataDir: string; readonly node: NodeDouble }> {
  const dataDir = await mkdtemp(join(tmpdir(), "berth-driver-"));
  const node = await NodeDouble.open(broker);
  const open = () =>
    ProcessDriver.open({
      dataDir,
      command: WORKER_COMMAND,
      env: { PATH: process.env["PATH"] ?? "" },
      clock: systemClock,
      log: silentLogger,
    });
  const driver = await open();
  const markOf = (tenant: string, key: string) =>
    join(dataDir, "workspaces", tenant, key, "work", "mark");
  return {
    dataDir,
    node,
    driver,
    connection: { natsUrl: broker.workerUrl, partitions: 64 },
    reopen: open,
    crash: async (worker) => {
      process.kill(pidOf(dataDir, worker), "SIGKILL");
    },
    hellos: (worker) => (node.hellos.has(worker) ? 1 : 0),
    mark: async ({ tenant, workspace_key }) => {
      const path = markOf(tenant, workspace_key);
      await mkdir(join(path, ".."), { recursive: true });
      await writeFile(path, "");
    },
    hasMark: async ({ tenant, workspace_key }) => existsSync(markOf(tenant, workspace_key)),
    async [Symbol.asyncDispose]() {
      for (const { worker } of await driver.list())
        await driver.stop(worker, { keepWorkspace: false });
      await driver.dispose();
      await node[Symbol.asyncDispose]();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}
