/**
 * `berth up`: nats-server, a node and a gateway in one process, for development and single machines.
 *
 * Invariants:
 * U1 What was started is stopped in reverse order, also when a later part fails to start.
 * U2 `.berth/dev.json` is written once the gateway answers; its keys stay the same over restarts.
 */
import { mkdir } from "node:fs/promises";
import { PLACES, POOL_KEY } from "../protocols/actors/place.ts";
import type { BerthError } from "../protocols/errors.ts";
import { PLATFORM_TENANT } from "../protocols/ids.ts";
import { actorClient } from "../runtime/actor-client.ts";
import type { Client } from "../runtime/client.ts";
import { systemClock } from "../runtime/clock.ts";
import type { Broker } from "./broker.ts";
import { chosenPort } from "./chosen-port.ts";
import type { Config } from "./config.ts";
import { runDemo } from "./demo.ts";
import { ensureDevelopment, writeDevFile } from "./development.ts";
import { createLogger } from "./logging.ts";
import { prometheusMetrics } from "./metrics.ts";
import { startBroker } from "./own-broker.ts";
import { replacement } from "./replacement.ts";
import {
  type Base,
  connect,
  connectGateway,
  driverLines,
  startGatewayRole,
  startNodeRole,
} from "./roles.ts";
import { startTracing } from "./tracing.ts";
import { ensureVaultKey } from "./vault-keys.ts";
import { version } from "./version.ts";

export interface UpOptions {
  readonly demo: boolean;
  readonly print: (line: string) => void;
  /** Where log lines go (default standard error). */
  readonly logTo?: NodeJS.WritableStream;
}

export interface Running {
  readonly url: string;
  /** Resolves when the process should end although nobody asked; never otherwise. */
  readonly failed: Promise<BerthError>;
  stop(): Promise<void>;
}

const POOL_READY_MS = 30_000;

export async function startUp(config: Config, options: UpOptions): Promise<Running> {
  const { print } = options;
  const clock = systemClock;
  const logger = createLogger({
    level: config.BERTH_LOG_LEVEL,
    destination: options.logTo ?? process.stderr,
    fields: { service: "berth", version },
    traceparent: () => tracing.tracer.active(),
  });
  const tracing = startTracing({
    ...{ config, clock, version, service: "berth" },
    failed: (error) => logger.warn({ err: error }, "traces could not be delivered"),
  });
  const undo: (() => Promise<void>)[] = [() => tracing.stop()];
  const replaced = replacement();
  const stop = async () => {
    for (const step of undo.splice(0).toReversed()) await step();
  };
  try {
    for (const name of config.unknown) print(`note: nothing reads ${name}; is it misspelt?`);
    await mkdir(config.BERTH_DATA, { recursive: true, mode: 0o700 });
    const nats = await startBroker(config, { logger, print, undo });
    const transport = await connect(nats, "berth", { config, clock, logger });
    undo.push(() => transport.close());
    const { tracer } = tracing;
    const base: Base = { config, clock, logger, metrics: prometheusMetrics(), tracer, transport };

    await ensureVaultKey(config);
    print("starting a node");
    const role = await startNodeRole(base, nats, { onReplaced: replaced.report });
    undo.push(() => role.stop({ workers: true }));
    for (const line of driverLines(role.driver)) print(line);

    const keys = await ensureDevelopment({
      transport,
      client: role.node.client,
      clock,
      dataDir: config.BERTH_DATA,
    });
    await role.node.client
      .actor(PLACES["shared-pool"], PLATFORM_TENANT, POOL_KEY)
      .warm({}, { timeoutMs: POOL_READY_MS });

    const outside = await gatewayBase(base, nats, undo);
    const gateway = await startGatewayRole(outside.base, outside.client ?? role.node.client, {
      port: await chosenPort(config, "BERTH_PORT", "gateway", print),
      metricsPort: await chosenPort(config, "BERTH_METRICS_PORT", "metrics", print),
    });
    undo.push(() => gateway.close());
    await writeDevFile(config.BERTH_DATA, {
      url: gateway.url,
      metrics_url: gateway.metricsUrl,
      nats_url: nats.url,
      ...(nats.keys ? { nats_creds: nats.keys.credsPath("platform") } : {}),
      driver: role.driver.name,
      keys,
    });

    if (options.demo) await runDemo({ url: gateway.url, key: keys.pro, print, clock });
    print(`metrics   ${gateway.metricsUrl}`);
    print(`dashboard ${gateway.url}/#key=${keys.operator}&console=${keys.pro}`);
    print('next      npx berth run --agent shell "echo hello"');
    print("          npx berth workers      npx berth --help");
    print(`berth ready ${gateway.url}`);
    return { url: gateway.url, failed: replaced.failed, stop };
  } catch (thrown) {
    await stop();
    throw thrown;
  }
}

/** With a connection of its own, so that what a client does through the gateway has the gateway's rights alone. */
async function gatewayBase(
  base: Base,
  { url, gateway, tls }: Broker,
  undo: (() => Promise<void>)[],
): Promise<{ readonly base: Base; readonly client?: Client }> {
  if (!gateway) return { base };
  const transport = await connectGateway({ url, credential: gateway, tls }, "berth-gateway", base);
  undo.push(() => transport.close());
  return { base: { ...base, transport }, client: actorClient({ ...base, transport }) };
}
