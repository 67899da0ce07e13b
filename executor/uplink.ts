/**
 * Sends the events of one attempt to its session, in numbered frames. Invariants:
 * U1 one frame is in flight at a time, and the next has the next number: the session takes them in order or not at all.
 * U2 a frame is sent, the same each time, until it is acknowledged: the session drops the repetition. A silence is not
 *    waited out (`repeated-request.ts`): the owner that was asked may stand still while the next one would answer.
 * U3 what arrives meanwhile waits and goes together in the next frame, so the batch grows with the delay.
 * U4 the outcome is in the last frame, after every event.
 * U5 after a refusal nothing more is sent.
 */
import { pack, unpack } from "msgpackr";
import type { AskReply, AskRequest } from "../protocols/envelope.ts";
import { BerthError, errorFromWire } from "../protocols/errors.ts";
import type { DraftEvent, Outcome } from "../protocols/events.ts";
import type { Frame, JobOrder } from "../protocols/executor.ts";
import { partitionOf } from "../protocols/partition.ts";
import { subjects } from "../protocols/subjects.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Contact } from "./contact.ts";
import { deferred } from "./deferred.ts";
import { Outbox } from "./outbox.ts";
import { requestRepeatedly } from "./repeated-request.ts";

/** The connection, as far as frames need it. */
export interface UplinkWire {
  /** Rejects when no answer came, and at once when the connection is back after a loss: the answer may be gone. */
  request(subject: string, data: Uint8Array, timeoutMs: number): Promise<Uint8Array>;
  /** Aborts when the connection is next back after a loss. */
  readonly reconnected: () => AbortSignal;
}

export interface UplinkOptions {
  readonly order: JobOrder;
  readonly worker: string;
  readonly partitions: number;
  readonly wire: UplinkWire;
  readonly clock: Clock;
  readonly contact: Contact;
  /** The session does not want this attempt (any more). Called once. */
  readonly onRefused: (error: BerthError) => void;
  /** True: too much waits, read no more from the agent; false: go on. */
  readonly onPressure: (isHigh: boolean) => void;
}

/** A repeated frame costs nothing, a node that died with an ask in its hands costs this. */
const REQUEST_TIMEOUT_MS = 2_500;
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2_000;
export const HIGH_WATER_BYTES = 1024 * 1024;
const LOW_WATER_BYTES = HIGH_WATER_BYTES / 2;

export class Uplink {
  readonly #options: UplinkOptions;
  readonly #subject: string;
  readonly #outbox = new Outbox();
  readonly #finished = deferred<void>();
  #frame = 0;
  #agentSession: string | undefined;
  #outcome: Outcome | undefined;
  #isPumping = false;
  #isHigh = false;
  #isClosed = false;
  #isLast = false;

  constructor(options: UplinkOptions) {
    this.#options = options;
    const ref = { tenant: options.order.tenant, kind: "session", key: options.order.session_id };
    this.#subject = subjects.up(options.worker, partitionOf(ref, options.partitions), ref);
  }

  /** Resolves when everything given was acknowledged after `end` or `last`, or when the session refused. */
  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  push(event: DraftEvent): void {
    if (this.#isClosed || this.#isLast) return;
    this.#outbox.push(event);
    if (!this.#isHigh && this.#outbox.bytes > HIGH_WATER_BYTES) this.#setPressure(true);
    this.#wake();
  }

  agentSession(id: string): void {
    this.#agentSession = id;
  }

  /** U4. */
  end(outcome: Outcome): void {
    if (this.#isLast) return;
    this.#outcome = outcome;
    this.last();
  }

  /** No more events, and no outcome: somebody else will say how the attempt ended. */
  last(): void {
    this.#isLast = true;
    this.#wake();
  }

  /** Gives up what was not acknowledged (U5). */
  close(): void {
    this.#isClosed = true;
    this.#outbox.clear();
    this.#finished.resolve();
  }

  #setPressure(isHigh: boolean): void {
    this.#isHigh = isHigh;
    this.#options.onPressure(isHigh);
  }

  #wake(): void {
    if (this.#isPumping || this.#isClosed) return;
    this.#isPumping = true;
    // A turn of the event loop later, so that what is said at once goes in one frame (U3).
    queueMicrotask(() => void this.#pump());
  }

  async #pump(): Promise<void> {
    while (!this.#isClosed && this.#hasWork()) {
      const frame = this.#nextFrame();
      const isLast = this.#isLast && this.#outbox.isEmpty;
      if (!(await this.#deliver(frame))) break;
      if (this.#isHigh && this.#outbox.bytes < LOW_WATER_BYTES) this.#setPressure(false);
      if (isLast) return this.close();
    }
    this.#isPumping = false;
    if (this.#isLast && !this.#hasWork()) this.close();
  }

  #hasWork(): boolean {
    return !this.#outbox.isEmpty || this.#outcome !== undefined;
  }

  #nextFrame(): Frame {
    const { worker, order } = this.#options;
    const events = this.#outbox.take();
    const outcome = this.#outbox.isEmpty ? this.#outcome : undefined;
    return {
      worker,
      job_id: order.job_id,
      attempt: order.attempt,
      frame: ++this.#frame,
      events,
      ...(this.#agentSession === undefined ? {} : { agent_session: this.#agentSession }),
      ...(outcome === undefined ? {} : { outcome }),
    };
  }

  /** U2. False when the session refused. */
  async #deliver(frame: Frame): Promise<boolean> {
    for (let tries = 0; !this.#isClosed; tries++) {
      const answer = await this.#send(frame, tries);
      const next = decideNext(answer, frame.frame, tries);
      if (next === "acknowledged") return true;
      if (next instanceof BerthError) {
        this.close();
        this.#options.onRefused(next);
        return false;
      }
      await this.#options.clock.sleep(next.pauseMs, this.#options.wire.reconnected());
    }
    return false;
  }

  async #send(frame: Frame, tries: number): Promise<AskReply | undefined> {
    const { clock, contact, order } = this.#options;
    const { traceparent } = order;
    const request: AskRequest = {
      // Of these sendings alone: what a node made of earlier ones, which had their own deadline, is not said of them.
      id: `${frame.job_id}.${frame.attempt}.${frame.frame}.${tries}`,
      type: "frame",
      payload: frame,
      deadline: clock.now() + REQUEST_TIMEOUT_MS,
      ...(traceparent === undefined ? {} : { traceparent }),
    };
    try {
      const answer = await requestRepeatedly(this.#options, {
        subject: this.#subject,
        data: pack(request),
        again: () => pack({ ...request, again: true }),
        timeoutMs: REQUEST_TIMEOUT_MS,
      });
      contact.seen();
      return unpack(answer) as AskReply;
    } catch {
      return undefined;
    }
  }
}

/** What to do after an answer, or none, to the given number of tries. */
export function decideNext(
  answer: AskReply | undefined,
  frame: number,
  tries: number,
): "acknowledged" | BerthError | { readonly pauseMs: number } {
  const pauseMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(tries, 10));
  if (answer === undefined) return { pauseMs };
  if (!answer.ok) {
    const error = errorFromWire(answer.error as Parameters<typeof errorFromWire>[0]);
    return error.retry === "never"
      ? error
      : { pauseMs: Math.max(pauseMs, error.retryAfterMs ?? 0) };
  }
  const acked = (answer.payload as { readonly acked?: unknown } | undefined)?.acked;
  if (typeof acked === "number" && acked >= frame) return "acknowledged";
  // The session has fewer frames than were acknowledged to us: its log is not this attempt's.
  return new BerthError("job.superseded", "The session does not know the attempt's earlier frames");
}
