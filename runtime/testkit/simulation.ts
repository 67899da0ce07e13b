/**
 * One schedule: real nodes and clients on a model of the broker, in time that only moves when all is done. Every
 * delay, loss and fault comes from the seed, so the same seed runs the same way again.
 *
 * Invariants:
 * V1 Nothing waits for anything but the simulated clock: between two of its events all promises have run.
 * V2 No number but the seed's decides an order. Ids may be random: nothing compares them but for equality.
 */
import { actorClient } from "../actor-client.ts";
import type { Client } from "../client.ts";
import type { Clock } from "../clock.ts";
import { silentLogger } from "../logger.ts";
import { MemoryBroker } from "../memory/broker.ts";
import { connectMemory } from "../memory/transport.ts";
import { noMetrics } from "../metrics.ts";
import type { RunningNode } from "../node.ts";
import type { Transport } from "../transport.ts";
import { CommitLog } from "./commit-log.ts";
import { type Fault, planFaults } from "./fault-plan.ts";
import { type FaultyTransport, faultyTransport } from "./faulty-transport.ts";
import { type HistoryRecorder, recordHistory } from "./history.ts";
import { ManualClock } from "./manual-clock.ts";
import { SeededNetwork } from "./network.ts";
import { TestProcess } from "./process.ts";
import { type Random, seededRandom } from "./random.ts";
import type { Scenario } from "./scenario.ts";
import { type NodeRun, SimulatedNode } from "./simulated-node.ts";
import { Trace } from "./trace.ts";

export interface ScheduleOptions {
  readonly seed: number;
  /** Instead of those that the seed plans. */
  readonly faults?: readonly Fault[] | undefined;
  /** Plants a bug, to see that it is caught. */
  readonly sabotage?: Sabotage | undefined;
  /** Takes a line for everything that happens. */
  readonly trace?: (line: string) => void;
}

/** A bug of the runtime, as what it gets from the broker can make it. `clock` is the world's. */
export type Sabotage = (transport: Transport, clock: Clock) => Transport;

export interface SimulatedClient {
  readonly client: Client;
  readonly transport: FaultyTransport;
}

const LEASE_TTL_MS = 2_000;
/** Time in which faults begin. */
export const FAULTS_FOR_MS = 9_000;
const ACK_WAIT_MS = 15_000;
const SWEEP_MS = 4_000;
const HANDOVER_MS = 5_000;
const NODES = { from: 2, to: 4 } as const;
const PARTITIONS = { from: 2, to: 4 } as const;
/** What an operator does. */
const PLANNED: readonly Fault["type"][] = ["restart", "join"];
/** The most that a node's wall clock is off. */
const MAX_SKEW_MS = 300;

export class Simulation {
  readonly seed: number;
  /** For the load: drawing from it moves nothing else. */
  readonly random: Random;
  readonly clock = new ManualClock();
  readonly broker: MemoryBroker;
  readonly history: HistoryRecorder;
  readonly commits = new CommitLog();
  readonly faults: readonly Fault[];
  readonly trace: Trace;
  readonly #scenario: Scenario;
  readonly #sabotage: Sabotage | undefined;
  readonly #seeds: Random;
  readonly #network: SeededNetwork;
  readonly #nodes = new Map<string, SimulatedNode>();
  readonly #first: readonly string[];
  /** Every connection that lives, clients' included. */
  readonly #connections = new Set<FaultyTransport>();

  constructor(scenario: Scenario, options: ScheduleOptions) {
    const seeds = seededRandom(options.seed);
    this.#scenario = scenario;
    this.#sabotage = options.sabotage;
    this.#seeds = seeds;
    this.seed = options.seed;
    this.random = seeds.fork("load");
    this.trace = new Trace(() => this.clock.monotonic(), options.trace);
    const shape = seeds.fork("shape");
    const nodes = shape.int(NODES.from, NODES.to);
    this.#first = Array.from({ length: nodes }, (_, i) => `n${i + 1}`);
    const queues = seeds.fork("queues");
    this.broker = new MemoryBroker({
      clock: this.clock,
      partitions: shape.int(PARTITIONS.from, PARTITIONS.to),
      mailboxCapacity: scenario.mailboxCapacity ?? 10_000,
      pick: (count) => queues.int(0, count - 1),
    });
    this.#network = new SeededNetwork(seeds.fork("network"), (passage, fate) =>
      this.trace.passage(passage, fate),
    );
    this.history = recordHistory(this.clock);
    this.faults =
      options.faults ??
      planFaults(seeds.fork("faults"), {
        nodes: this.#first,
        durationMs: FAULTS_FOR_MS,
        leaseTtlMs: LEASE_TTL_MS,
      });
  }

  /** Nodes that run, started and not ended. */
  get nodes(): RunningNode[] {
    return [...this.#nodes.values()].flatMap(({ node }) => (node ? [node] : []));
  }

  /** A client in a process of its own, which no fault ends. */
  client(name: string): SimulatedClient {
    const process = new TestProcess(name, this.clock);
    const transport = this.#connect(process);
    return { client: actorClient({ transport, clock: process.clock() }), transport };
  }

  /** Starts the first nodes and sets the faults. */
  begin(): void {
    for (const id of this.#first) this.#node(id).boot();
    // Where nodes only come and go as asked to, the network is good: no call has a reason to fail.
    this.#network.hasStragglers = this.faults.some(({ type }) => !PLANNED.includes(type));
    for (const fault of this.faults) this.clock.after(fault.at, () => this.#befall(fault));
  }

  /** Ends all faults that last: what stands still goes on, what is cut is mended, what is down starts. */
  heal(): void {
    this.#network.weather = 0;
    this.#network.hasStragglers = false;
    for (const node of this.#nodes.values()) {
      node.disarm();
      node.run?.process.resume();
      node.boot();
    }
    for (const { link } of this.#connections) link.mend();
    this.trace.note("all faults are over");
  }

  /** Every partition has one host and every node is content. */
  get isSettled(): boolean {
    const nodes = [...this.#nodes.values()];
    const held = this.nodes.flatMap((node) => node.partitions());
    return (
      nodes.every(({ node }) => node?.isReady()) &&
      held.length === this.broker.partitions &&
      new Set(held).size === this.broker.partitions
    );
  }

  /** No mail waits. */
  get isDrained(): boolean {
    return this.broker.mail.every((mail) => mail.length === 0);
  }

  /** What every node hosts, for a person. */
  describe(): string {
    const nodes = [...this.#nodes.values()].map(
      ({ id, node }) => `${id} ${node ? `[${node.partitions().join(" ")}]` : "is down"}`,
    );
    const waiting = this.broker.mail
      .flat()
      .map(({ ref, lane }) => `${ref.kind}/${ref.key} ${lane}`);
    return `${nodes.join(", ")}; mail that waits: ${waiting.length === 0 ? "none" : waiting.join(", ")}`;
  }

  #node(id: string): SimulatedNode {
    const known = this.#nodes.get(id);
    if (known) return known;
    const made = new SimulatedNode(id, {
      begin: () => this.#run(id),
      after: (ms, fn) => void this.clock.after(ms, fn),
    });
    this.#nodes.set(id, made);
    return made;
  }

  #run(id: string): NodeRun {
    const process = new TestProcess(id, this.clock);
    const random = this.#seeds.fork(`node ${id}`);
    const skewMs = Math.round(random.between(-MAX_SKEW_MS, MAX_SKEW_MS));
    const { definitions, tools } = this.#scenario;
    this.trace.note(`${id} starts`);
    process.onEnd(() => this.trace.note(`${id} ends`));
    return {
      process,
      transport: this.#connect(process),
      options: {
        definitions,
        tools: tools?.(this) ?? {},
        clock: process.clock(skewMs),
        logger: silentLogger,
        metrics: noMetrics,
        random: () => random.next(),
        version: "simulated",
        drivers: [],
        leaseTtlMs: LEASE_TTL_MS,
        sweepMs: SWEEP_MS,
        handoverMs: HANDOVER_MS,
      },
    };
  }

  #connect(process: TestProcess): FaultyTransport {
    const stored = this.commits.watch(connectMemory(this.broker));
    const broker = this.#sabotage?.(stored, this.clock) ?? stored;
    const transport = faultyTransport(broker, {
      clock: this.clock,
      process,
      faults: this.#network,
      ackWaitMs: ACK_WAIT_MS,
    });
    this.#connections.add(transport);
    process.onEnd(() => this.#connections.delete(transport));
    return transport;
  }

  #befall(fault: Fault): void {
    this.trace.fault(fault);
    switch (fault.type) {
      case "broker-restart":
        for (const { link } of this.#connections) link.reset();
        return;
      case "weather":
        this.#network.weather = fault.probability;
        this.clock.after(fault.forMs, () => {
          this.#network.weather = 0;
        });
        return;
      case "join":
        this.#node(fault.node).boot();
        return;
      default:
        this.#befallNode(fault, this.#node(fault.node));
    }
  }

  #befallNode(
    fault: Exclude<Fault, { type: "broker-restart" | "weather" | "join" }>,
    node: SimulatedNode,
  ) {
    const run = node.run;
    if (!run) return;
    switch (fault.type) {
      case "kill":
        node.kill(fault.downMs);
        return;
      case "kill-at-step":
        node.killAtStep(fault.step, fault.nth, fault.downMs);
        return;
      case "pause":
        run.process.pause();
        this.clock.after(fault.forMs, () => run.process.resume());
        return;
      case "cut":
        run.transport.link.cut(fault.directions);
        this.clock.after(fault.forMs, () => run.transport.link.mend());
        return;
      case "reset":
        run.transport.link.reset();
        return;
      case "restart":
        node.restart();
    }
  }
}
