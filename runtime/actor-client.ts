/**
 * The client on a transport.
 *
 * Invariants:
 * C1 An ask is sent again under the same id and number when nobody listened, when the one who did said that the actor
 *    moved, and after a silence: it or its answer may be lost. What is sent after a silence is bounded for all asks of a
 *    client together (R7, `resend-budget.ts`). Actors recognise an ask by its number and handle it once (R3).
 *    Once it was sent again, a refusal by who has not looked at the actor's record says nothing of the other sendings:
 *    it is sent once more, until somebody is sure or its time is over.
 * C2 An ask names the last tell of this client to the same actor, and is handled after it (R4).
 * C3 An ask says that it is alone when no earlier one of this client to that actor is open: only then a read may be
 *    answered before what waits there (R4).
 * C4 A tell is sent again under the same id until stored, the deadline, or an error that will not change. That the
 *    mailbox is full says nothing of an earlier sending without an answer, which may be what filled it.
 */
import type { Envelope } from "../protocols/envelope.ts";
import { asBerthError, BerthError, errorFromWire } from "../protocols/errors.ts";
import type { ActorRef } from "../protocols/ids.ts";
import { PLATFORM_TENANT, parseId, refName } from "../protocols/ids.ts";
import { partitionOf } from "../protocols/partition.ts";
import type { Lane, Messages, Protocol } from "../protocols/protocol.ts";
import { subjects } from "../protocols/subjects.ts";
import { decodeReply } from "./ask-codec.ts";
import { inquiry } from "./ask-inquiry.ts";
import { AskNumbers } from "./ask-numbers.ts";
import { AskSending } from "./ask-sending.ts";
import { inSpan } from "./call-span.ts";
import type { ActorHandle, CallOptions, Client } from "./client.ts";
import type { Clock } from "./clock.ts";
import { freshUlid } from "./fresh-ulid.ts";
import type { Metrics } from "./metrics.ts";
import { ResendBudget } from "./resend-budget.ts";
import { noTracer, type Tracer } from "./tracing.ts";
import type { Transport } from "./transport.ts";

const DEFAULT_TIMEOUT_MS = 5_000;
const FIRST_PAUSE_MS = 10;
const MAX_PAUSE_MS = 250;
/** An ask without an answer is sent again so often. Twice the age below which an actor takes it to be the only one. */
const AGAIN_MS = 500;
/** Actors whose last tell is remembered for C2; by then the older ones' mail has long been handled. */
const REMEMBERED_TELLS = 10_000;

interface Collaborators {
  readonly transport: Transport;
  readonly clock: Clock;
  /** Default: nothing is measured. */
  readonly metrics?: Metrics;
  readonly tracer?: Tracer;
}

export function actorClient(parts: Collaborators): Client {
  const client = new ActorClient(parts);
  return {
    actor: (protocol, tenant, key) => client.handle(protocol, tenant, key),
    ask: (ref, type, input, options) => client.ask(ref, type, input, options),
  };
}

interface HandleTarget {
  readonly client: ActorClient;
  readonly ref: ActorRef;
}

type Call = (
  this: { readonly target: HandleTarget },
  input: unknown,
  options?: CallOptions,
) => Promise<unknown>;

/** Handles of one protocol share a prototype: its message functions are made once. */
const shapes = new WeakMap<Protocol, object>();

function shapeOf(protocol: Protocol): object {
  const known = shapes.get(protocol);
  if (known) return known;
  const shape: Record<string, Call> = {};
  for (const [type, def] of Object.entries(protocol.messages)) {
    shape[type] =
      def.type === "ask"
        ? function ask(input, options) {
            const { client, ref } = this.target;
            return client.ask(ref, type, input, options, def.readOnly);
          }
        : async function tell(input, options) {
            const { client, ref } = this.target;
            await client.tell(ref, def.lane, type, parseInput(def.input, input), options);
          };
  }
  shapes.set(protocol, shape);
  return shape;
}

class ActorClient {
  readonly #parts: Collaborators;
  readonly #name = freshUlid();
  #asked = 0;
  readonly #told = new Map<string, Record<string, number>>();
  readonly #numbers = new AskNumbers();
  readonly #budget: ResendBudget;

  constructor(parts: Collaborators) {
    this.#parts = parts;
    this.#budget = new ResendBudget(parts.clock);
  }

  handle<M extends Messages>(protocol: Protocol<M>, tenant: string, key: string): ActorHandle<M> {
    const ref: ActorRef = {
      kind: protocol.kind,
      tenant: protocol.platform ? PLATFORM_TENANT : parseId(tenant, "tenant"),
      key: parseId(key, "key"),
    };
    const target: HandleTarget = { client: this, ref };
    return Object.assign(Object.create(shapeOf(protocol)) as ActorHandle<M>, { target });
  }

  /** Unique, and cheaper than a random one for each ask. */
  #askId(): string {
    this.#asked += 1;
    return `ask_${this.#name}_${this.#asked}`;
  }

  async ask(
    ref: ActorRef,
    type: string,
    input: unknown,
    options: CallOptions = {},
    isReadOnly = false,
  ): Promise<unknown> {
    const { clock, metrics, tracer = noTracer } = this.#parts;
    const startedAt = metrics ? clock.monotonic() : 0;
    try {
      if (!tracer.isOn) return await this.#ask(ref, type, input, options, isReadOnly);
      const call = { verb: "ask", ref, type, parent: options.traceparent } as const;
      const ask = (traceparent: string) =>
        this.#ask(ref, type, input, { ...options, traceparent }, isReadOnly);
      return await inSpan(tracer, call, ask);
    } finally {
      const seconds = (clock.monotonic() - startedAt) / 1_000;
      metrics?.observe("berth_ask_seconds", seconds, { kind: ref.kind });
    }
  }

  async #ask(
    ref: ActorRef,
    type: string,
    input: unknown,
    options: CallOptions,
    isReadOnly: boolean,
  ): Promise<unknown> {
    const { transport, clock } = this.#parts;
    const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    const until = clock.monotonic() + timeoutMs;
    const subject = subjects.ask(partitionOf(ref, transport.partitions), ref);
    const name = refName(ref);
    const after = this.#told.get(name);
    const { n, settled, isAlone } = this.#numbers.begin(name);
    const now = clock.now();
    const request = {
      id: options.id ?? this.#askId(),
      type,
      payload: input,
      deadline: now + timeoutMs,
      ...(isReadOnly ? {} : { by: [this.#name, n, settled, now] }),
      ...(after ? { after } : {}),
      ...(isAlone ? { alone: true } : {}),
      ...(options.traceparent ? { traceparent: options.traceparent } : {}),
    };
    const budget = this.#budget;
    const sending = new AskSending(request, { everyMs: AGAIN_MS, isReadOnly, budget });
    try {
      for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(MAX_PAUSE_MS, pause * 2)) {
        const left = until - clock.monotonic();
        const reply = await this.#once(ref, subject, sending, left);
        if (reply.ok) return reply.payload;
        const error = errorFromWire(reply.error as Parameters<typeof errorFromWire>[0]);
        const isSure = reply.sure === true;
        const isOpen = error.retry === "elsewhere" || sending.isDoubtful(error, isSure);
        if (!isOpen || left <= pause) throw sending.verdict(error, isSure); // C1
        options.signal?.throwIfAborted();
        await clock.sleep(pause, options.signal);
      }
    } finally {
      this.#numbers.end(name, n);
    }
  }

  async #once(ref: ActorRef, subject: string, sending: AskSending, left: number) {
    const { transport } = this.#parts;
    const timeoutMs = Math.max(1, left);
    const { again, data } = sending;
    let why: string | undefined;
    const late = inquiry(transport, ref, timeoutMs, (told) => {
      why = told;
    });
    try {
      const answer = await transport.bus.request(subject, data, timeoutMs, late, again);
      this.#budget.answered();
      return decodeReply(answer);
    } catch (thrown) {
      const { message, ...error } = asBerthError(thrown).toWire();
      const isExplained = error.code === "ask.timeout" && why !== undefined;
      const told = isExplained ? `${message}: ${why}` : message;
      return { ok: false as const, error: { ...error, message: told }, sure: undefined };
    }
  }

  async tell(
    ref: ActorRef,
    lane: Lane,
    type: string,
    payload: unknown,
    options: CallOptions = {},
  ): Promise<void> {
    const { tracer = noTracer } = this.#parts;
    if (!tracer.isOn) return this.#tell(ref, lane, type, payload, options);
    const call = { verb: "tell", ref, type, parent: options.traceparent } as const;
    await inSpan(tracer, call, (traceparent) =>
      this.#tell(ref, lane, type, payload, { ...options, traceparent }),
    );
  }

  async #tell(
    ref: ActorRef,
    lane: Lane,
    type: string,
    payload: unknown,
    options: CallOptions,
  ): Promise<void> {
    const { clock } = this.#parts;
    const until = clock.monotonic() + (options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
    const place = `${refName(ref)}/${lane}`;
    const { n, settled } = this.#numbers.begin(place);
    const now = clock.now();
    const envelope: Envelope = {
      id: options.id ?? `msg_${freshUlid()}`,
      type,
      payload,
      sentAt: now,
      by: [`${this.#name}/${lane}`, n, settled, now],
      ...(options.traceparent ? { traceparent: options.traceparent } : {}),
    };
    try {
      this.#remember(ref, lane, await this.#store(ref, lane, envelope, { until, ...options }));
    } finally {
      this.#numbers.end(place, n);
    }
  }

  /** C4. */
  async #store(
    ref: ActorRef,
    lane: Lane,
    envelope: Envelope,
    { until, signal }: { readonly until: number; readonly signal?: AbortSignal },
  ): Promise<number> {
    const { transport, clock } = this.#parts;
    let doubt: BerthError | undefined;
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(MAX_PAUSE_MS, pause * 2)) {
      try {
        return await transport.mailboxes.send(ref, lane, envelope);
      } catch (thrown) {
        const error = asBerthError(thrown);
        const isFull = error.code === "actor.mailbox_full";
        if (error.retry === "never" || (isFull && !doubt)) throw error;
        if (!isFull) doubt = error;
        if (clock.monotonic() + pause >= until) throw doubt ?? error;
      }
      signal?.throwIfAborted();
      await clock.sleep(pause, signal);
    }
  }

  #remember(ref: ActorRef, lane: Lane, seq: number): void {
    const name = refName(ref);
    const told = this.#told.get(name) ?? {};
    this.#told.delete(name);
    this.#told.set(name, { ...told, [lane]: Math.max(told[lane] ?? 0, seq) });
    if (this.#told.size <= REMEMBERED_TELLS) return;
    const oldest = this.#told.keys().next();
    if (!oldest.done) this.#told.delete(oldest.value);
  }
}

function parseInput(
  schema: { safeParse(input: unknown): { success: boolean; data?: unknown; error?: unknown } },
  input: unknown,
): unknown {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  throw new BerthError("request.invalid", asBerthError(parsed.error).message, {
    cause: parsed.error,
  });
}
