import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BENCH_TENANT, ProfiledActor, profiledActor } from "../../../bench/bench-actor.ts";
import { TurnTrace, tracedDefinition, tracedTransport } from "../../../bench/turn-trace.ts";
import { actorClient } from "../../../runtime/actor-client.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { MemoryBroker } from "../../../runtime/memory/broker.ts";
import { connectMemory } from "../../../runtime/memory/transport.ts";
import { noMetrics } from "../../../runtime/metrics.ts";
import { type RunningNode, startNode } from "../../../runtime/node.ts";
import { eventually } from "../../support/eventually.ts";

let broker: MemoryBroker;
let trace: TurnTrace;
let node: RunningNode;

beforeEach(async () => {
  broker = new MemoryBroker({ clock: systemClock, partitions: 1 });
  trace = new TurnTrace();
  node = await startNode({
    transport: tracedTransport(connectMemory(broker), trace),
    definitions: [tracedDefinition(profiledActor, trace)],
    tools: {},
    clock: systemClock,
    logger: silentLogger,
    metrics: noMetrics,
    random: () => 0.5,
    nodeId: "n1",
    version: "1",
    drivers: [],
  });
  await eventually(() => expect(node.isReady()).toBe(true));
});
afterEach(() => node.stop());

const open = () =>
  actorClient({ transport: connectMemory(broker), clock: systemClock }).actor(
    ProfiledActor,
    BENCH_TENANT,
    "one",
  );

describe("the trace of turns", () => {
  it("notes every step of each ask that writes", async () => {
    const one = open();
    for (let total = 1; total <= 3; total += 1) {
      expect(await one.count({ text: "x" })).toEqual({ total });
    }
    const { turns, ...steps } = trace.steps;
    expect(turns).toBe(3);
    expect(steps.commit).toBeGreaterThan(0);
    for (const [step, sum] of Object.entries(steps)) expect(sum, step).toBeGreaterThanOrEqual(0);
  });

  it("adds no commit for what only reads", async () => {
    const one = open();
    await one.count({ text: "x" });
    trace.start(0);
    await one.echo({ text: "x" });
    expect(trace.steps).toMatchObject({ turns: 1, commit: 0, answer: 0 });
    expect(trace.steps.encode).toBeGreaterThan(0);
  });

  it("follows mail until it is acknowledged, also when one commit holds many", async () => {
    const one = open();
    await Promise.all(Array.from({ length: 20 }, () => one.tally({ text: "x" })));
    await eventually(() => expect(trace.steps.turns).toBe(20));
    expect(trace.steps.commit).toBeGreaterThan(0);
  });
});
