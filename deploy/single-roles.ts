/**
 * `berth node`, `berth gateway` and `berth operator-key`: one role in one process, on a nats-server that runs elsewhere.
 *
 * Invariants:
 * G1 A node that is told to stop hands its partitions over before it leaves. Its workers live on and report to
 *    the actors wherever those are now: no job is lost, and a node started again under the same id adopts them.
 * G2 A gateway that is told to stop is not ready at once, names each stream's cursor as it closes it, and lets
 *    requests in flight finish.
 */
import { mkdir } from "node:fs/promises";
import { PLACES, POOL_KEY } from "../protocols/actors/place.ts";
import type { BerthError } from "../protocols/errors.ts";
import { PLATFORM_TENANT } from "../protocols/ids.ts";
import { actorClient } from "../runtime/actor-client.ts";
import { systemClock } from "../runtime/clock.ts";
import { type Broker, externalBroker } from "./broker.ts";
import type { Config } from "./config.ts";
import { startHealthServer } from "./health-server.ts";
import { newKey, putKey } from "./keys.ts";
import { createLogger } from "./logging.ts";
import { prometheusMetrics } from "./metrics.ts";
import { replacement } from "./replacement.ts";
import {
  type Base,
  connect,
  connectGateway,
  driverLines,
  startGatewayRole,
  startNodeRole,
} from "./roles.ts";
import { openListenerTls } from "./tls-files.ts";
import { startTracing } from "./tracing.ts";
import { keySourceOf } from "./vault-keys.ts";
import { version } from "./version.ts";

export interface RoleOptions {
  readonly print: (line: string) => void;
  /** Where log lines go (default standard error). */
  readonly logTo?: NodeJS.WritableStream;
}

export interface RunningRole {
  readonly url: string;
  /** Resolves when the process should end although nobody asked; never otherwise. */
  readonly failed: Promise<BerthError>;
  stop(): Promise<void>;
}

/** A node with its driver host; `url` is that of its health server. */
export async function startNodeProcess(
  config: Config,
  options: RoleOptions & {
    /** End this node's workers with it, which interrupts their jobs. */
    readonly endWorkers: boolean;
  },
): Promise<RunningRole> {
  const { base, close, broker } = await openBase(config, "berth-node", options);
  const { BERTH_DATA, BERTH_HOST: host, BERTH_NODE_PORT: port } = config;
  try {
    await mkdir(BERTH_DATA, { recursive: true, mode: 0o700 });
    const { failed, report } = replacement();
    // Files that cannot be used are told of before anything is taken on.
    const tls = await openListenerTls(config, base);
    const role = await startNodeRole(base, broker, { onReplaced: report }).catch(
      (thrown: unknown) => {
        tls.stop();
        throw thrown;
      },
    );
    const { node } = role;
    const health = await startHealthServer({
      host: config.BERTH_METRICS_HOST ?? host,
      tls: tls.metrics,
      port,
      problems: async () => (node.isReady() ? {} : { node: "not ready, or draining" }),
      metricsText: () => base.metrics.text(),
    }).catch(async (error: unknown) => {
      await role.stop({ workers: options.endWorkers });
      tls.stop();
      throw error;
    });
    const pool = node.client.actor(PLACES["shared-pool"], PLATFORM_TENANT, POOL_KEY);
    await pool.warm({});
    for (const line of driverLines(role.driver)) options.print(line);
    if (keySourceOf(config) === undefined)
      options.print("note: this node holds no keys of the vault: see BERTH_VAULT_KEY_FILE");
    options.print(`berth node ${node.id} ready ${health.url}`);
    const stop = async () => {
      await role.stop({ workers: options.endWorkers }); // G1
      await health.close();
      tls.stop();
      await close();
    };
    return { url: health.url, failed, stop };
  } catch (thrown) {
    await base.transport.close();
    throw thrown;
  }
}

/** A gateway alone; any number may run. */
export async function startGatewayProcess(
  config: Config,
  options: RoleOptions,
): Promise<RunningRole> {
  const { base, close } = await openBase(config, "berth-gateway", options, connectGateway);
  const { clock, metrics, tracer, transport } = base;
  try {
    const gateway = await startGatewayRole(
      base,
      actorClient({ transport, clock, metrics, tracer }),
      {
        port: config.BERTH_PORT,
        metricsPort: config.BERTH_METRICS_PORT,
      },
    );
    options.print(`metrics ${gateway.metricsUrl}`);
    options.print(`berth gateway ready ${gateway.url}`);
    const stop = async () => {
      await gateway.close(); // G2
      await close();
    };
    return { url: gateway.url, failed: new Promise(() => undefined), stop };
  } catch (thrown) {
    await transport.close();
    throw thrown;
  }
}

/** An operator's key, for a deployment that has none yet. It is stored nowhere but by its hash. */
export async function makeOperatorKey(
  config: Config,
  options: RoleOptions & { readonly name: string },
): Promise<string> {
  const { base } = await openBase(config, "berth-operator-key", options);
  try {
    const key = newKey();
    await putKey(base, key, { name: options.name, user: "operator", scope: "operator" });
    return key;
  } finally {
    await base.transport.close();
  }
}

async function openBase(
  config: Config,
  name: string,
  { logTo, print }: RoleOptions,
  dial = connect,
): Promise<{
  readonly base: Base;
  readonly broker: Broker;
  /** Closes the transport, then sends the last traces. */
  readonly close: () => Promise<void>;
}> {
  const broker = externalBroker(config);
  for (const unknown of config.unknown) print(`note: nothing reads ${unknown}; is it misspelt?`);
  const clock = systemClock;
  const logger = createLogger({
    level: config.BERTH_LOG_LEVEL,
    destination: logTo ?? process.stderr,
    fields: { service: name, version },
    traceparent: () => tracing.tracer.active(),
  });
  const tracing = startTracing({
    ...{ config, clock, version, service: name },
    failed: (error) => logger.warn({ err: error }, "traces could not be delivered"),
  });
  const transport = await dial(broker, name, { config, clock, logger });
  const { tracer } = tracing;
  const base = { config, clock, logger, metrics: prometheusMetrics(), tracer, transport };
  const close = async () => {
    await transport.close();
    await tracing.stop();
  };
  return { broker, base, close };
}
