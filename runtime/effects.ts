/**
 * Runs the tools that turns asked for.
 *
 * Invariants:
 * E1 An effect of one id runs at most once at a time on a node.
 * E2 Its result is stored in the actor's mailbox before the runner forgets it; a crash before runs it again
 *    elsewhere, from the actor's record.
 */

import type { Envelope } from "../protocols/envelope.ts";
import { asBerthError, BerthError, type WireError } from "../protocols/errors.ts";
import type { ActorRef } from "../protocols/ids.ts";
import { refName } from "../protocols/ids.ts";
import type { Protocol } from "../protocols/protocol.ts";
import type { Clock } from "./clock.ts";
import type { Logger } from "./logger.ts";
import type { PendingEffect } from "./record.ts";
import type { Tools } from "./tools.ts";
import type { Transport } from "./transport.ts";

interface Collaborators {
  readonly tools: Tools;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly logger: Logger;
}

const FIRST_PAUSE_MS = 50;
const MAX_PAUSE_MS = 2_000;

export class EffectRunner {
  readonly #parts: Collaborators;
  readonly #running = new Set<string>();

  constructor(parts: Collaborators) {
    this.#parts = parts;
  }

  get running(): number {
    return this.#running.size;
  }

  isRunning(id: string): boolean {
    return this.#running.has(id);
  }

  /** Starts the effect unless it runs (E1). `ended` is called when it is over and no message will say so. */
  start(
    protocol: Protocol,
    ref: ActorRef,
    id: string,
    effect: PendingEffect,
    options: { readonly signal: AbortSignal; readonly ended: () => void },
  ): void {
    if (this.#running.has(id)) return;
    this.#running.add(id);
    this.#run(protocol, ref, id, effect, options.signal)
      .then((told) => {
        this.#running.delete(id);
        if (!told) options.ended();
      })
      .catch((thrown: unknown) => {
        this.#running.delete(id);
        if (options.signal.aborted) return;
        this.#parts.logger.error(
          { err: thrown, actor: refName(ref), effect: id },
          "an effect's result was lost",
        );
      });
  }

  async #run(
    protocol: Protocol,
    ref: ActorRef,
    id: string,
    effect: PendingEffect,
    signal: AbortSignal,
  ): Promise<boolean> {
    const outcome = await this.#call(ref, id, effect, signal);
    if (signal.aborted) return true;
    const type = effect.reply ?? (outcome.error ? effect.failed : undefined);
    if (outcome.error) {
      this.#parts.logger.warn(
        {
          actor: refName(ref),
          tool: effect.tool,
          code: outcome.error.code,
          reason: outcome.error.message,
        },
        "a tool failed",
      );
    }
    if (type === undefined) return false;
    const lane = protocol.messages[type]?.type === "tell" ? protocol.messages[type].lane : "user";
    await this.#tell(
      ref,
      lane,
      {
        id: `${id}:result`,
        type,
        payload: { effect: id, ...outcome },
        effect: id,
        sentAt: this.#parts.clock.now(),
      },
      signal,
    );
    return true;
  }

  async #call(
    caller: ActorRef,
    effect: string,
    { tool, input }: PendingEffect,
    signal: AbortSignal,
  ): Promise<{ output?: unknown; error?: WireError }> {
    const implementation = this.#parts.tools[tool];
    try {
      if (!implementation)
        throw new BerthError("internal.unexpected", `there is no tool "${tool}"`);
      return { output: await implementation(input, { signal, caller, effect }) };
    } catch (thrown) {
      return { error: asBerthError(thrown).toWire() };
    }
  }

  async #tell(
    ref: ActorRef,
    lane: "control" | "user" | "background",
    envelope: Envelope,
    signal: AbortSignal,
  ): Promise<void> {
    const { transport, clock } = this.#parts;
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(MAX_PAUSE_MS, pause * 2)) {
      try {
        await transport.mailboxes.send(ref, lane, envelope);
        return;
      } catch (thrown) {
        if (signal.aborted || asBerthError(thrown).retry === "never") throw thrown;
        await clock.sleep(pause, signal);
      }
    }
  }
}
