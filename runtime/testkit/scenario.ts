/** What a simulator runs: actors, those who use them, and what must hold at the end. */
import type { ActorDefinition } from "../actor.ts";
import type { Tools } from "../tools.ts";
import type { Simulation } from "./simulation.ts";

export interface Violation {
  /** The promise that is broken, such as `R1`. */
  readonly rule: string;
  readonly message: string;
}

export interface Scenario {
  readonly definitions: readonly ActorDefinition[];
  readonly tools?: (simulation: Simulation) => Tools;
  /** Mail that one actor may have waiting per lane (default 10 000). */
  readonly mailboxCapacity?: number;
  /**
   * Uses the actors while faults happen, on the simulation's clients and time, with numbers from its `random` only.
   * Calls may fail. What it waits for must be on the simulation's clock: no timer, no socket, no file.
   */
  load(simulation: Simulation): Promise<void>;
  /** Runs when the faults are over and everything has come to rest; returns what is broken. */
  check(simulation: Simulation): Promise<Violation[]>;
}
