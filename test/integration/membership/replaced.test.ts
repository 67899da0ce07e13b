/** R1: of two processes with one node id the older one ends and says why. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { loadConfig } from "../../../deploy/config.ts";
import { startUp } from "../../../deploy/up.ts";
import type { NodeRecord } from "../../../protocols/records.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { connectNats } from "../../../runtime/nats/transport.ts";
import { freePort } from "../../support/free-port.ts";
import { startNats } from "../../support/nats.ts";

test("`berth up` ends with a clear sentence when another process takes its node's id", async () => {
  await using nats = await startNats();
  const dataDir = await mkdtemp(join(tmpdir(), "berth-replaced-"));
  const port = async (name: string) => String(await freePort(name));
  const config = loadConfig({
    PATH: process.env["PATH"],
    BERTH_DATA: dataDir,
    BERTH_NATS_URL: nats.url,
    BERTH_NODE_ID: "one",
    BERTH_DRIVER: "process",
    BERTH_PARTITIONS: "4",
    BERTH_PORT: await port("gateway"),
    BERTH_METRICS_PORT: await port("metrics"),
    BERTH_TIERS: JSON.stringify({ free: { minWorkers: 0, maxWorkers: 1 } }),
  });
  const up = await startUp(config, { demo: false, print() {}, logTo: new PassThrough().resume() });
  const transport = await connectNats({
    ...{ url: nats.url, name: "usurper", logger: silentLogger, clock: systemClock },
    topology: { replicas: 1, partitions: 4, mailboxCapacity: 1, journalRetentionMs: 1 },
  });
  const usurper: NodeRecord = {
    ...{ id: "one", incarnation: "another", version: "0", started_at: 0, draining: false },
    ...{ drivers: [], kinds: [] },
  };
  const value = new TextEncoder().encode(JSON.stringify(usurper));
  await transport.buckets.put("nodes", "one", value);
  const error = await up.failed;
  expect(error.code).toBe("lease.lost");
  expect(error.message).toContain("BERTH_NODE_ID");
  await up.stop();
  // It has not taken the other's lease with it.
  expect((await transport.buckets.get("nodes", "one"))?.value).toEqual(value);
  await transport.close();
  await rm(dataDir, { recursive: true, force: true });
});
