/** A partition host by itself, for tests that put two owners side by side or end one at a named step. */
import type { ActorDefinition } from "../../runtime/actor.ts";
import { BodyBudget } from "../../runtime/body-budget.ts";
import { type Clock, systemClock } from "../../runtime/clock.ts";
import { EffectRunner } from "../../runtime/effects.ts";
import { Gate } from "../../runtime/gate.ts";
import { Lobby } from "../../runtime/lobby.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { noMetrics } from "../../runtime/metrics.ts";
import { Outbox } from "../../runtime/outbox.ts";
import { Pace } from "../../runtime/pace.ts";
import { PartitionHost } from "../../runtime/partition-host.ts";
import type { OnStep } from "../../runtime/steps.ts";
import type { Tools } from "../../runtime/tools.ts";
import { noTracer } from "../../runtime/tracing.ts";
import type { Transport } from "../../runtime/transport.ts";

export interface HostOptions {
  readonly transport: Transport;
  readonly definitions: readonly ActorDefinition[];
  readonly partition?: number;
  readonly epoch: number;
  readonly tools?: Tools;
  readonly leaseValid?: () => boolean;
  readonly fenced?: (epoch: number) => void;
  readonly onStep?: OnStep;
  readonly bodyBytes?: number;
  readonly clock?: Clock;
}

/** One partition's host without a node around it: the test says which epoch it believes to have. */
export function partitionHost(options: HostOptions): PartitionHost {
  const { transport, definitions, epoch, tools = {}, clock = systemClock } = options;
  const shared = { transport, clock, logger: silentLogger, tools };
  return new PartitionHost({
    ...shared,
    partition: options.partition ?? 0,
    nodeId: `node-${epoch}`,
    metrics: noMetrics,
    tracer: noTracer,
    tally: { turns: 0 },
    definitions: new Map(definitions.map((definition) => [definition.protocol.kind, definition])),
    outbox: new Outbox(shared),
    effects: new EffectRunner(shared),
    gate: new Gate(64),
    lobby: new Lobby({ clock: systemClock, width: 32, hasRoom: () => true }),
    pace: new Pace(systemClock),
    bodies: new BodyBudget(options.bodyBytes ?? 64 * 1024 ** 2),
    scans: new Gate(1),
    random: Math.random,
    writer: `writer-${epoch}`,
    epoch,
    leaseValid: options.leaseValid ?? (() => true),
    fenced: options.fenced ?? (() => {}),
    servedElsewhere: () => false,
    admitUplink: () => false,
    onStep: options.onStep,
  });
}
