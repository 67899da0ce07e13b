/** Alerts of workers that went without a word, and of credentials that outlive theirs, each by its real cause. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { type WorkerRecord, workerRecordSchema } from "../../../protocols/executor.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { connectNats, type NatsTransport } from "../../../runtime/nats/transport.ts";
import { MOST_REVOCATIONS } from "../../../runtime/nats-auth/account-record.ts";
import { parseCredsFile } from "../../../runtime/nats-auth/credential.ts";
import { accountName } from "../../../runtime/nats-auth/worker-account.ts";
import { type BerthProcess, spawnBerth } from "../../support/berth-process.ts";
import { eventually } from "../../support/eventually.ts";
import { fillRevocations } from "../../support/full-account.ts";
import { describePrometheus, type Prometheus, startPrometheus } from "../../support/prometheus.ts";

/** Longer than an alert may take. */
vi.setConfig({ testTimeout: 100_000 });

describePrometheus("a Prometheus says so", () => {
  let berth: BerthProcess;
  let prometheus: Prometheus;
  let transport: NatsTransport;
  let up: WorkerRecord;

  beforeAll(async () => {
    berth = await spawnBerth({ BERTH_SWEEP_EVERY: "2s" });
    const { metrics_url, nats_url } = await berth.dev();
    prometheus = await startPrometheus({ gateways: [new URL(metrics_url).host] });
    const creds = await readFile(join(berth.dataDir, "nats-auth", "platform.creds"), "utf8");
    transport = await connectNats({
      ...{ url: nats_url, name: "test", clock: systemClock, logger: silentLogger },
      ...{ credential: () => parseCredsFile(creds), topology: "existing" },
    });
  });
  afterAll(async () => {
    await transport?.close();
    await prometheus?.[Symbol.asyncDispose]();
    await berth?.[Symbol.asyncDispose]();
  });

  /** Of a worker that is up. */
  async function anyRecord(): Promise<WorkerRecord> {
    const [entry] = await transport.buckets.list("workers", "");
    const record = workerRecordSchema.parse(
      JSON.parse(new TextDecoder().decode(entry?.value ?? new Uint8Array())),
    );
    expect(record.phase).toBe("idle");
    return record;
  }

  /** As that of the worker that is up. */
  async function record(worker: string): Promise<void> {
    const its: WorkerRecord = { ...up, id: worker, spec: { ...up.spec, worker } };
    const value = new TextEncoder().encode(JSON.stringify(its));
    await transport.buckets.put("workers", worker, value);
  }

  test("nothing, in peace", async () => {
    await eventually(
      async () => expect(await prometheus.values("berth_reconcile_lost_total")).toEqual([0]),
      {
        within: 20_000,
        name: "the target is up",
      },
    );
    up = await eventually(anyRecord, { within: 30_000, name: "a worker is up" });
    await eventually(async () => expect(await prometheus.firing()).toEqual([]), {
      within: 20_000,
      name: "nothing fires",
    });
  });

  test("when a host does not have a worker that it should have by its record", async () => {
    await record("wrk_gone");
    await prometheus.fires("WorkersLost");
  });

  test("when a worker ends whose account has no room for one more that is out", async () => {
    const keeper = { ensure: () => Promise.resolve("") };
    await fillRevocations({ keeper, transport }, accountName(up.spec), { count: MOST_REVOCATIONS });
    await record("wrk_left");
    await transport.buckets.remove("workers", "wrk_left");
    await prometheus.fires("RevocationsRefused");
  });
});
