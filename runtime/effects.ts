/**
 * Runs the tools that turns asked for.
 *
 * Invariants:
 * E1 An effect of one id runs at most once at a time on a node.
 * E2 Its result is stored in the actor's mailbox before the runner forgets it; a crash before runs it again
 *    elsewhere, from the actor's record.
 * E3 An effect asked for again while a run that was given up is still ending starts after that end.
 * E4 A cancelled effect reports nothing: the record that cancelled it takes no result of it either.
 */
import type { Envelope } from "../protocols/envelope.ts";
import { asBerthError, BerthError, type WireError } from "../protocols/errors.ts";
import type { ActorRef } from "../protocols/ids.ts";
import { refName } from "../protocols/ids.ts";
import type { Lane, Protocol } from "../protocols/protocol.ts";
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

interface Run {
  readonly protocol: Protocol;
  readonly ref: ActorRef;
  readonly id: string;
  readonly effect: PendingEffect;
  /** Aborts when the node gives the actor up, or the effect is cancelled (E4). */
  readonly signal: AbortSignal;
  /** Called when the effect is over and no message will say so. */
  readonly ended: () => void;
}

interface Outcome {
  readonly output?: unknown;
  readonly error?: WireError;
}

const FIRST_PAUSE_MS = 50;
const MAX_PAUSE_MS = 2_000;

export class EffectRunner {
  readonly #parts: Collaborators;
  readonly #running = new Map<string, Run & { readonly cancel: () => void }>();
  /** By id, the run that begins when the present one has ended (E3). */
  readonly #next = new Map<string, Run>();

  constructor(parts: Collaborators) {
    this.#parts = parts;
  }

  get running(): number {
    return this.#running.size;
  }

  /** Starts the effect unless it runs (E1). */
  start(
    protocol: Protocol,
    ref: ActorRef,
    id: string,
    effect: PendingEffect,
    options: { readonly signal: AbortSignal; readonly ended: () => void },
  ): void {
    const run: Run = { protocol, ref, id, effect, ...options };
    const present = this.#running.get(id);
    if (!present) this.#begin(run);
    else if (present.signal.aborted) this.#next.set(id, run);
  }

  /** Ends the effect if it runs here (E4). */
  cancel(id: string): void {
    this.#next.delete(id);
    this.#running.get(id)?.cancel();
  }

  #begin(asked: Run): void {
    const abort = new AbortController();
    const cancel = () => abort.abort();
    asked.signal.addEventListener("abort", cancel, { once: true });
    const run = { ...asked, signal: abort.signal, cancel };
    this.#running.set(run.id, run);
    this.#run(run)
      .catch((thrown: unknown) => {
        if (run.signal.aborted) return;
        const fields = { err: thrown, actor: refName(run.ref), effect: run.id };
        this.#parts.logger.error(fields, "an effect's result was lost");
        run.ended();
      })
      .finally(() => {
        asked.signal.removeEventListener("abort", cancel);
        this.#running.delete(run.id);
        const next = this.#next.get(run.id);
        this.#next.delete(run.id);
        if (next && !next.signal.aborted) this.#begin(next);
      });
  }

  async #run(run: Run): Promise<void> {
    const { effect, id, ref, signal } = run;
    const outcome = await this.#call(run);
    if (signal.aborted) return;
    if (outcome.error) {
      const { code, message: reason } = outcome.error;
      const fields = { actor: refName(ref), tool: effect.tool, code, reason };
      this.#parts.logger.warn(fields, "a tool failed");
    }
    const type = effect.reply ?? (outcome.error ? effect.failed : undefined);
    if (type === undefined) run.ended();
    else await this.#report(run, type, { effect: id, ...outcome });
  }

  async #call({ ref, id, effect, signal }: Run): Promise<Outcome> {
    const implementation = this.#parts.tools[effect.tool];
    try {
      if (!implementation)
        throw new BerthError("internal.unexpected", `there is no tool "${effect.tool}"`);
      return { output: await implementation(effect.input, { signal, caller: ref, effect: id }) };
    } catch (thrown) {
      return { error: asBerthError(thrown).toWire() };
    }
  }

  /** A result that no mailbox takes (too large) is reported as that error instead. */
  async #report(run: Run, type: string, payload: Outcome & { effect: string }): Promise<void> {
    try {
      await this.#tell(run, type, payload);
    } catch (thrown) {
      if (run.signal.aborted || payload.error) throw thrown;
      await this.#tell(run, type, { effect: payload.effect, error: asBerthError(thrown).toWire() });
    }
  }

  async #tell({ protocol, ref, id, signal }: Run, type: string, payload: unknown): Promise<void> {
    const { transport, clock } = this.#parts;
    const def = protocol.messages[type];
    const lane: Lane = def?.type === "tell" ? def.lane : "user";
    const sentAt = clock.now();
    const envelope: Envelope = { id: `${id}:result`, type, payload, effect: id, sentAt };
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
