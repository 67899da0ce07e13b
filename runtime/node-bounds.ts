/** What the partitions of one node share, so that the node as a whole stays bounded (R7). */
import { BodyBudget } from "./body-budget.ts";
import type { Clock } from "./clock.ts";
import { Gate } from "./gate.ts";
import { Lobby } from "./lobby.ts";
import { Pace } from "./pace.ts";

/** Actors that mail wakes at once. Half of the records that load at once are left to asks. */
const STARTS_AT_ONCE = 32;
/** Actors in memory: beyond it mail waits and asks of others are refused. */
const MAX_ACTIVATIONS = 50_000;
/** Records loaded at once: a start with much mail waiting must not flood the broker. */
const LOADS_AT_ONCE = 64;
/** Bodies of waiting mail in memory, as they are in the broker; parsed they take a few times as much. */
const BODY_BYTES = 64 * 1024 ** 2;

export interface NodeBounds {
  readonly gate: Gate;
  readonly scans: Gate;
  readonly bodies: BodyBudget;
  readonly lobby: Lobby;
  readonly pace: Pace;
}

/** `activations` tells how many actors are in memory. */
export function nodeBounds(clock: Clock, activations: () => number): NodeBounds {
  const hasRoom = () => activations() < MAX_ACTIVATIONS;
  return {
    gate: new Gate(LOADS_AT_ONCE),
    scans: new Gate(1),
    bodies: new BodyBudget(BODY_BYTES),
    lobby: new Lobby({ clock, width: STARTS_AT_ONCE, hasRoom }),
    pace: new Pace(clock),
  };
}
