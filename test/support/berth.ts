/**
 * A whole Berth for a test: a real nats-server, a node with its driver host and process workers, and a
 * gateway, in this process. `await using berth = await startBerth({ tiers })`; disposal stops everything.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { loadConfig } from "../../deploy/config.ts";
import { ensureDevelopment, writeDevFile } from "../../deploy/development.ts";
import { createLogger } from "../../deploy/logging.ts";
import { prometheusMetrics } from "../../deploy/metrics.ts";
import {
  type Base,
  connect,
  connectGateway,
  type NodeRole,
  startGatewayRole,
  startNodeRole,
} from "../../deploy/roles.ts";
import { startTracing } from "../../deploy/tracing.ts";
import type { Gateway } from "../../gateway/server.ts";
import { PLACES, POOL_KEY } from "../../protocols/actors/place.ts";
import type { DevFile } from "../../protocols/api.ts";
import { PLATFORM_TENANT } from "../../protocols/ids.ts";
import type { TierOverrides } from "../../protocols/tiers.ts";
import { actorClient } from "../../runtime/actor-client.ts";
import { systemClock } from "../../runtime/clock.ts";
import { type OperatorNats, startOperatorNats } from "./nats.ts";

export interface BerthOptions {
  /** Tier rules that the test shortens or widens. */
  readonly tiers?: TierOverrides;
  /** Further BERTH_ variables. */
  readonly env?: Readonly<Record<string, string>>;
  /** A broker that may hold something already (default: a new one). It ends with the Berth. */
  readonly nats?: OperatorNats;
}

export interface TestBerth extends AsyncDisposable {
  readonly url: string;
  readonly metricsUrl: string;
  readonly keys: DevFile["keys"];
  /** Holds `dev.json`, as `.berth` would. */
  readonly dataDir: string;
  readonly nats: OperatorNats;
  readonly base: Base;
  readonly role: NodeRole;
  readonly gateway: Gateway;
  /** What was logged, as text. */
  logs(): string;
  stop(): Promise<void>;
}

/** Small pools and quick rules, so that a test is not slowed by what it does not look at. */
const TEST_TIERS: TierOverrides = { free: { minWorkers: 1, maxWorkers: 3 } };

export async function startBerth(options: BerthOptions = {}): Promise<TestBerth> {
  const nats = options.nats ?? (await startOperatorNats());
  const dataDir = await mkdtemp(join(tmpdir(), "berth-test-"));
  const tiers = {
    ...TEST_TIERS,
    ...options.tiers,
    free: { ...TEST_TIERS.free, ...options.tiers?.free },
  };
  const config = loadConfig({
    PATH: process.env["PATH"],
    BERTH_DATA: dataDir,
    BERTH_DRIVER: "process",
    BERTH_TIERS: JSON.stringify(tiers),
    BERTH_KILL_GRACE: "1s",
    BERTH_LOG_LEVEL: "debug",
    BERTH_FLEET_AGENTS: "shell",
    ...options.env,
  });
  const sink = new PassThrough();
  let log = "";
  sink.on("data", (chunk: Buffer) => {
    log += chunk.toString();
  });
  const clock = systemClock;
  const logger = createLogger({
    level: config.BERTH_LOG_LEVEL,
    destination: sink,
    fields: {},
    traceparent: () => tracing.tracer.active(),
  });
  const tracing = startTracing({
    ...{ config, clock, service: "berth-test", version: "0.0.0" },
    failed: (error) => logger.warn({ err: error }, "traces could not be delivered"),
  });
  const { tracer } = tracing;
  const transport = await connect(nats.broker, "berth-test", { config, clock, logger });
  const base: Base = { config, clock, logger, metrics: prometheusMetrics(), tracer, transport };
  const role = await startNodeRole(base, nats.broker);
  const { client } = role.node;
  const keys = await ensureDevelopment({ transport, client, clock, dataDir });
  await client.actor(PLACES["shared-pool"], PLATFORM_TENANT, POOL_KEY).warm({});
  const { url, gateway: credential } = nats.broker;
  const outside = await connectGateway({ url, credential }, "berth-test-gateway", base);
  const gateway = await startGatewayRole(
    { ...base, transport: outside },
    actorClient({ ...base, transport: outside }),
    { port: 0, metricsPort: 0 },
  );
  await writeDevFile(dataDir, {
    url: gateway.url,
    metrics_url: gateway.metricsUrl,
    nats_url: nats.url,
    nats_creds: nats.keys.credsPath("platform"),
    keys,
  });
  let stopping: Promise<void> | undefined;
  const stop = async () => {
    await gateway.close();
    await outside.close();
    await role.stop({ workers: true });
    await transport.close();
    await tracing.stop();
    await nats[Symbol.asyncDispose]();
    await rm(dataDir, { recursive: true, force: true });
  };
  const stopOnce = () => (stopping ??= stop());
  return {
    url: gateway.url,
    metricsUrl: gateway.metricsUrl,
    keys,
    dataDir,
    nats,
    base,
    role,
    gateway,
    logs: () => log,
    stop: stopOnce,
    [Symbol.asyncDispose]: stopOnce,
  };
}
