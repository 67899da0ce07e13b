/** Nodes with all actors, driver hosts and reconcilers over the memory broker; drivers are doubles whose workers are played. */
import { admitUplink } from "../../actors/admit-uplink.ts";
import { hostDesires } from "../../actors/hosting/host-desires.ts";
import type { ActorSettings } from "../../actors/options.ts";
import { actorDefinitions } from "../../actors/registry.ts";
import { actorTools } from "../../actors/tools/tools.ts";
import { type DriverHost, startDriverHost } from "../../executor/driver-host.ts";
import { type Reconciler, startReconciler } from "../../executor/reconciler.ts";
import type { WorkerRecord } from "../../protocols/executor.ts";
import { type TierOverrides, type TierTable, tierTable } from "../../protocols/tiers.ts";
import { actorClient } from "../../runtime/actor-client.ts";
import { systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { MemoryBroker } from "../../runtime/memory/broker.ts";
import { connectMemory } from "../../runtime/memory/transport.ts";
import { noMetrics } from "../../runtime/metrics.ts";
import { type RunningNode, startNode } from "../../runtime/node.ts";
import { DriverDouble } from "./driver-double.ts";
import { eventually } from "./eventually.ts";
import { FakeExecutors } from "./fake-executors.ts";
import { JobRig } from "./job-rig.ts";

export type HostedSettings = Omit<ActorSettings, "tiers"> & { readonly overrides?: TierOverrides };

interface RunningHost {
  readonly node: RunningNode;
  readonly host: DriverHost;
  readonly reconciler: Reconciler;
}

const FAST = { initialMs: 20, maxMs: 100 };
const RECONCILE_MS = 100;
/** Executors say hello and never beat. */
const SILENT_AFTER_MS = 600_000;
const LEASE_MS = 1_000;

export class HostedRig extends JobRig implements AsyncDisposable {
  readonly executors: FakeExecutors;
  /** By node: what it has started outlives it. */
  readonly drivers = new Map<string, DriverDouble>();
  readonly #settings: HostedSettings;
  readonly #running = new Map<string, RunningHost>();

  private constructor(broker: MemoryBroker, tiers: TierTable, settings: HostedSettings) {
    const transport = connectMemory(broker);
    super(actorClient({ transport, clock: systemClock }), broker, tiers);
    this.executors = new FakeExecutors(transport);
    this.#settings = settings;
  }

  static async open(nodes: readonly string[], settings: HostedSettings = {}): Promise<HostedRig> {
    const broker = new MemoryBroker({ clock: systemClock });
    const rig = new HostedRig(broker, tierTable(settings.overrides), settings);
    for (const id of nodes) await rig.start(id);
    return rig;
  }

  driver(node: string): DriverDouble {
    const known = this.drivers.get(node);
    if (known) return known;
    const made = new DriverDouble();
    made.onLife = (spec, isUp) => {
      if (!isUp) return this.executors.drop(spec.worker);
      this.executors.boot(spec);
      void this.executors.sayHello(spec.worker);
    };
    this.drivers.set(node, made);
    return made;
  }

  /** Starts a node, or starts it again over the driver that it had. */
  async start(id: string): Promise<void> {
    const transport = connectMemory(this.broker);
    const { overrides: _, ...settings } = this.#settings;
    const { tiers } = this;
    const clock = systemClock;
    let node: RunningNode | undefined;
    const tools = actorTools({
      bus: transport.bus,
      buckets: transport.buckets,
      hosts: () => node?.nodes() ?? [],
      clock,
      logger: silentLogger,
      orderWindowMs: 300,
    });
    const definitions = actorDefinitions({
      ...settings,
      tiers,
      place: { tickMs: 100, reportMs: 50, replaceBackoff: FAST, ...settings.place },
      supervisor: { startBackoff: FAST, sweepMs: 100, ...settings.supervisor },
    });
    node = await startNode({
      ...{ transport, tools, admitUplink, definitions, clock },
      logger: silentLogger,
      metrics: noMetrics,
      random: Math.random,
      nodeId: id,
      version: "test",
      drivers: [{ name: "double", max_workers: 100 }],
      leaseTtlMs: LEASE_MS,
    });
    const driver = this.driver(id);
    const { buckets, bus } = transport;
    const desires = hostDesires({
      client: node.client,
      buckets,
      tiers,
      clock,
      logger: silentLogger,
    });
    const common = { node: id, driver, clock, log: silentLogger };
    const host = await startDriverHost({
      ...common,
      bus,
      connection: () => ({ natsUrl: "nats://nowhere", partitions: transport.partitions }),
      onExit: (exit) => void desires.reportExit(exit).catch(() => undefined),
      silentAfterMs: SILENT_AFTER_MS,
      metrics: noMetrics,
    });
    const reconciler = await startReconciler({
      ...common,
      host,
      desires,
      metrics: noMetrics,
      random: Math.random,
      everyMs: RECONCILE_MS,
    });
    this.#running.set(id, { node, host, reconciler });
    const started = node;
    await eventually(() => started.isReady(), { name: `${id} is ready` });
  }

  /** As SIGKILL does: its workers live on. */
  async crash(id: string): Promise<void> {
    const running = this.#running.get(id);
    this.#running.delete(id);
    await running?.node.crash();
    await running?.reconciler.close();
    await running?.host.close();
  }

  async records(): Promise<WorkerRecord[]> {
    const entries = await this.transport.buckets.list("workers", "");
    return entries.map(({ value }) => JSON.parse(new TextDecoder().decode(value)) as WorkerRecord);
  }

  /** Resolves when each worker on record lives on its host and nothing else lives anywhere. */
  async converged(): Promise<void> {
    await eventually(
      async () => {
        const wanted = (await this.records()).map(({ id, host }) => `${host}/${id}`);
        const live = [...this.drivers].flatMap(([node, driver]) =>
          [...driver.live.keys()].map((worker) => `${node}/${worker}`),
        );
        return wanted.toSorted().join() === live.toSorted().join();
      },
      { name: "what lives is what is on record" },
    );
  }

  override async close(): Promise<void> {
    for (const driver of this.drivers.values()) driver.fault = () => {};
    for (const { reconciler, host } of this.#running.values()) {
      await reconciler.close();
      await host.stopAll();
    }
    for (const { node, host } of this.#running.values()) {
      await node.stop();
      await host.close();
    }
    await super.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
