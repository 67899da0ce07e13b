/**
 * The public API: what an author of actors and a program that embeds a node import. Everything else is
 * private and may change in any release.
 */
export { BerthError, type ErrorCode, type Retry, type WireError } from "./protocols/errors.ts";
export {
  EVENT_TYPES,
  type EventData,
  type EventType,
  type SessionEvent,
} from "./protocols/events.ts";
export { type ActorRef, PLATFORM_TENANT } from "./protocols/ids.ts";
export {
  type AskDef,
  ask,
  type InputOf,
  type Lane,
  type MessageDef,
  type Messages,
  type OutputOf,
  type Protocol,
  protocol,
  type TellDef,
  type Tool,
  tell,
  tool,
} from "./protocols/protocol.ts";
export {
  DEFAULT_TIERS,
  type Tier,
  type TierLimits,
  type TierTable,
  tierTable,
} from "./protocols/tiers.ts";
export {
  type ActorDefinition,
  actor,
  type Behaviour,
  type Context,
  type Handlers,
  type Peer,
  type ReadContext,
} from "./runtime/actor.ts";
export { actorClient } from "./runtime/actor-client.ts";
export { type ChildPolicy, DEFAULT_CHILDREN } from "./runtime/children.ts";
export type { ActorHandle, CallOptions, Client } from "./runtime/client.ts";
export { type Clock, systemClock } from "./runtime/clock.ts";
export type { DeadLetters, LetterFilter, Replayed } from "./runtime/dead-letters.ts";
export { type Logger, silentLogger } from "./runtime/logger.ts";
export { MemoryBroker, type MemoryBrokerOptions } from "./runtime/memory/broker.ts";
export { connectMemory } from "./runtime/memory/transport.ts";
export { type Metrics, noMetrics } from "./runtime/metrics.ts";
export type { TopologyOptions } from "./runtime/nats/topology.ts";
export { connectNats, type NatsOptions } from "./runtime/nats/transport.ts";
export { type NodeOptions, type RunningNode, startNode } from "./runtime/node.ts";
export type { Standing } from "./runtime/standing.ts";
export {
  type Causes,
  DEFAULT_SUPERVISION,
  type Reaction,
  type Supervision,
} from "./runtime/supervision.ts";
export { type SystemOrder, sendSystem } from "./runtime/system-mail.ts";
export type { ToolImplementation, Tools } from "./runtime/tools.ts";
export type { Transport } from "./runtime/transport.ts";
