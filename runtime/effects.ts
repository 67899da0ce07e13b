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
import { asBerthError, BerthError, errorFromWire, type WireError } from "../protocols/errors.ts";
import type { ActorRef } from "../protocols/ids.ts";
import { refName } from "../protocols/ids.ts";
import type { Lane, Protocol } from "../protocols/protocol.ts";
import type { Clock } from "./clock.ts";
import type { Logger } from "./logger.ts";
import type { PendingEffect } from "./record.ts";
import type { Tools } from "./tools.ts";
import { noTracer, type Span, type Tracer, traceFields } from "./tracing.ts";
import type { Transport } from "./transport.ts";

interface Collaborators {
  readonly tools: Tools;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly tracer?: Tracer;
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
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
}

/** With the `traceparent` that its result carries. */
type TracedRun = Run & { readonly traceparent: string | undefined };

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

  /** When the effect that runs began (ms since the epoch); undefined when it does not run here. */
  startedAt(id: string): number | undefined {
    return this.#running.get(id)?.startedAt;
  }

  /** Starts the effect unless it runs (E1). */
  start(
    protocol: Protocol,
    ref: ActorRef,
    id: string,
    effect: PendingEffect,
    options: { readonly signal: AbortSignal; readonly ended: () => void },
  ): void {
    const startedAt = this.#parts.clock.now();
    const run: Run = { protocol, ref, id, effect, startedAt, ...options };
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
    const span = this.#span(run);
    const traceparent = span?.traceparent ?? effect.traceparent;
    const outcome = await this.#call(run, span);
    if (outcome.error) span?.fail(errorFromWire(outcome.error));
    span?.end();
    if (signal.aborted) return;
    if (outcome.error) {
      const { code, message: reason } = outcome.error;
      const fields = { actor: refName(ref), tool: effect.tool, code, reason };
      this.#parts.logger.warn({ ...fields, ...traceFields(traceparent) }, "a tool failed");
    }
    const type = effect.reply ?? (outcome.error ? effect.failed : undefined);
    if (type === undefined) run.ended();
    else await this.#report({ ...run, traceparent }, type, { effect: id, ...outcome });
  }

  #span({ effect, id, ref }: Run): Span | undefined {
    const { tracer = noTracer } = this.#parts;
    if (!tracer.isOn) return undefined;
    return tracer.start(`tool ${effect.tool}`, {
      kind: "client",
      parent: effect.traceparent,
      attributes: {
        "berth.tool": effect.tool,
        "berth.effect": id,
        "berth.actor.kind": ref.kind,
        "berth.actor.tenant": ref.tenant,
        "berth.actor.key": ref.key,
      },
    });
  }

  async #call({ ref, id, effect, signal }: Run, span: Span | undefined): Promise<Outcome> {
    const { tools, tracer = noTracer } = this.#parts;
    const implementation = tools[effect.tool];
    try {
      if (!implementation)
        throw new BerthError("internal.unexpected", `there is no tool "${effect.tool}"`);
      const traceparent = span?.traceparent ?? effect.traceparent;
      const call = { signal, caller: ref, effect: id, traceparent };
      const start = () => implementation(effect.input, call);
      return { output: await (span ? tracer.within(span, start) : start()) };
    } catch (thrown) {
      return { error: asBerthError(thrown).toWire() };
    }
  }

  /** A result that no mailbox takes (too large) is reported as that error instead. */
  async #report(
    run: TracedRun,
    type: string,
    payload: Outcome & { effect: string },
  ): Promise<void> {
    try {
      await this.#tell(run, type, payload);
    } catch (thrown) {
      if (run.signal.aborted || payload.error) throw thrown;
      await this.#tell(run, type, { effect: payload.effect, error: asBerthError(thrown).toWire() });
    }
  }

  async #tell(run: TracedRun, type: string, payload: unknown): Promise<void> {
    const { protocol, ref, id, signal, traceparent } = run;
    const { transport, clock } = this.#parts;
    const def = protocol.messages[type];
    const lane: Lane = def?.type === "tell" ? def.lane : "user";
    const sentAt = clock.now();
    const trace = traceparent === undefined ? {} : { traceparent };
    const envelope: Envelope = { id: `${id}:result`, type, payload, effect: id, sentAt, ...trace };
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
