/** A node that hosts the benchmark's actors, in a process of its own, with the settings that nodes have by default. */
import { prometheusMetrics } from "../../deploy/metrics.ts";
import { version } from "../../deploy/version.ts";
import { systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { startNode } from "../../runtime/node.ts";
import { benchActor, profiledActor, restingActor } from "../bench-actor.ts";
import type { NodeMemory, NodeState } from "../cluster.ts";
import { connectBerth } from "../connection.ts";
import { CpuProfile } from "../cpu-profile.ts";
import { ledgerActor } from "../ledger-actor.ts";
import { heapBytes } from "../memory.ts";
import { TurnTrace, tracedDefinition, tracedTransport } from "../turn-trace.ts";
import { runProgram } from "./program.ts";

interface Config {
  readonly natsUrl: string;
  readonly nodeId?: string;
  /** After so long without work the `bench-resting` actors leave memory. */
  readonly restMs?: number;
  /** Notes the steps of turns of `bench-profiled` actors, and can profile itself. */
  readonly traced?: boolean;
}

const REST_MS = 60_000;

await runProgram(async ({ natsUrl, nodeId = "bench", restMs = REST_MS, traced }: Config) => {
  const connected = await connectBerth(natsUrl, nodeId);
  const trace = new TurnTrace();
  const cpu = new CpuProfile();
  const transport = traced ? tracedTransport(connected, trace) : connected;
  const profiled = traced ? tracedDefinition(profiledActor, trace) : profiledActor;
  const metrics = prometheusMetrics();
  const node = await startNode({
    transport,
    definitions: [benchActor, ledgerActor, restingActor(restMs), profiled],
    tools: {},
    clock: systemClock,
    logger: silentLogger,
    metrics,
    random: Math.random,
    nodeId,
    version,
    drivers: [],
  });
  const state = (): NodeState => ({
    ready: node.isReady(),
    partitions: node.partitions(),
    activations: node.census().activations,
  });
  const memory = (): NodeMemory => ({ heap: heapBytes(), resident: process.memoryUsage.rss() });
  return {
    commands: {
      state: () => Promise.resolve(state()),
      memory: () => Promise.resolve(memory()),
      pid: () => Promise.resolve(process.pid),
      "start-trace": (since: number) => Promise.resolve(trace.start(since)),
      trace: () => Promise.resolve(trace.steps),
      "start-profile": () => cpu.start(),
      profile: () => cpu.stop(),
    },
    async stop() {
      await node.stop();
      await transport.close();
    },
  };
});
