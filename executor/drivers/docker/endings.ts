/**
 * How workers end: asked to, by themselves, or found dead.
 *
 * Invariants:
 * K2 An end is told once, after the container, its slot and its network are gone and its log is kept.
 * K3 Events are hints: whenever the engine is back, and at each sweep, what lives is compared with what is known.
 */
import { asBerthError } from "../../../protocols/errors.ts";
import type { Logger } from "../../../runtime/logger.ts";
import type { WorkerExit } from "../driver.ts";
import type { KeptLogs } from "../kept-logs.ts";
import type { Claims } from "./claims.ts";
import { decideExit } from "./decide-exit.ts";
import type { DormantPool } from "./dormant-pool.ts";
import type { Engine } from "./engine.ts";
import { type EngineOwner, filterOf } from "./labels.ts";
import type { Known, Roster } from "./roster.ts";
import type { Sandboxes } from "./sandboxes.ts";

export interface EndingsParts {
  readonly engine: Engine;
  readonly owner: EngineOwner;
  readonly roster: Roster;
  readonly pool: DormantPool;
  readonly sandboxes: Sandboxes;
  readonly claims: Claims;
  readonly logs: KeptLogs;
  readonly log: Logger;
  readonly onExit: (exit: WorkerExit) => void;
}

export class Endings {
  readonly #parts: EndingsParts;

  constructor(parts: EndingsParts) {
    this.#parts = parts;
  }

  /** SIGTERM, the grace, and nothing of it is left. Not told as an exit. */
  async stop(known: Known, graceMs: number): Promise<void> {
    const { engine, roster } = this.#parts;
    known.isEnding = true;
    try {
      await engine.stop(known.container, graceMs);
      await this.#keepLog(known);
      await this.destroy(known);
      roster.known.delete(known.spec.worker);
    } catch (thrown) {
      known.isEnding = false;
      throw asBerthError(thrown, "driver.failed");
    }
  }

  /** It ended by itself (K2). */
  async bury(known: Known): Promise<void> {
    if (known.isEnding) return;
    known.isEnding = true;
    const { engine, log, onExit, roster } = this.#parts;
    const { spec } = known;
    try {
      const end = await engine.end(known.container);
      const verdict = decideExit(end, await this.#keepLog(known));
      await this.destroy(known);
      roster.known.delete(spec.worker);
      onExit({ worker: spec.worker, spec, ...verdict });
    } catch (thrown) {
      // The engine is away, or something holds on: the next look tries again.
      known.isEnding = false;
      log.warn({ err: asBerthError(thrown), worker: spec.worker }, "a dead worker left something");
    }
  }

  /** K3. */
  async look(): Promise<void> {
    const { engine, owner, pool, roster } = this.#parts;
    const before = [...roster.known.values()];
    const dormant = pool.all();
    const listed = await engine.list(filterOf(owner));
    const states = new Map(listed.map(({ id, state }) => [id, state]));
    for (const { container } of dormant)
      if (states.get(container) !== "paused") pool.drop(container);
    for (const known of before) {
      const state = states.get(known.container);
      // What starts is its start's business: a claimed one is paused until it is woken.
      if (state === "running" || roster.starting.has(known.spec.worker)) continue;
      // Nobody but a claim that was cut off pauses workers.
      if (state === "paused") await engine.unpause(known.container);
      else await this.bury(known);
    }
  }

  async destroy(known: Known): Promise<void> {
    await this.#parts.sandboxes.destroy(known);
    if (known.isClaimed) await this.#parts.claims.release(known.slot);
  }

  /** Returns what it kept. */
  async #keepLog({ container, spec }: Known): Promise<string> {
    const text = await this.#parts.engine.logTail(container);
    if (text !== "") this.#parts.logs.save(spec.worker, text);
    return text;
  }
}
