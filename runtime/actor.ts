/**
 * What an author of an actor sees: `actor(Protocol, { state, handlers })` and the context of a turn. A
 * handler only records effects; they happen together when the turn commits (R3), or not at all.
 */
import type { z } from "zod";
import type { EventType } from "../protocols/events.ts";
import type { ActorRef } from "../protocols/ids.ts";
import type {
  InputOf,
  MessageDef,
  Messages,
  OutputOf,
  Protocol,
  ReceivedOf,
  TellsOf,
  Tool,
} from "../protocols/protocol.ts";
import type { Bucket } from "../protocols/subjects.ts";
import type { ChildPolicy } from "./children.ts";
import type { Logger } from "./logger.ts";
import type { Standing } from "./standing.ts";
import type { Supervision } from "./supervision.ts";

/** The tells of a peer as functions: `ctx.actor(Ledger, "main").charge({ tokens: 5 })`. Recorded, sent after the commit. */
export type Peer<M extends Messages> = {
  readonly [K in keyof TellsOf<M>]: M[K] extends MessageDef
    ? (input: InputOf<M[K]>) => void
    : never;
};

/** The names of the messages that take the result of tool `T`. */
type ResultTells<M extends Messages, T extends Tool> = {
  [K in keyof M]: M[K] extends { type: "tell"; input: z.ZodObject<infer S> }
    ? T["result"] extends S
      ? K
      : never
    : never;
}[keyof M];

export interface PutOptions {
  readonly create?: boolean;
  readonly patch?: boolean;
}

type Scalar = string | number | bigint | boolean | symbol | null | undefined | Date;

/** A value that is read only all the way down. */
export type DeepReadonly<T> = T extends Scalar
  ? T
  : T extends object
    ? { readonly [K in keyof T]: DeepReadonly<T[K]> }
    : T;

export interface ReadContext<S> {
  readonly self: ActorRef;
  /** Frozen: changing it throws. */
  readonly state: DeepReadonly<S>;
  /** Milliseconds since the epoch; the same through one turn. */
  readonly now: number;
  readonly log: Logger;
  /** Whether this actor has ever committed: false for a key nobody has written to. */
  readonly exists: boolean;
}

export interface Context<S, M extends Messages> extends Omit<ReadContext<S>, "state"> {
  /** A private copy: change it in place or assign it. Saved if the handler returns, dropped if it throws. */
  state: S;
  /** The actor that sent this message; undefined for clients. */
  readonly from: ActorRef | undefined;
  /** Of this turn's trace, to be kept for work that it will cause later; undefined when there is none. */
  readonly traceparent: string | undefined;
  /** A peer in this tenant (or in the platform, if its protocol says so). */
  actor<P extends Messages>(protocol: Protocol<P>, key: string): Peer<P>;
  /**
   * A peer in another tenant: for actors of the platform only, others get `auth.forbidden`. With `traceparent` what it
   * is told belongs to that trace and not to this turn's: work that waited is resumed by whoever lets it go.
   */
  in(
    tenant: string,
    traceparent?: string,
  ): { actor<P extends Messages>(protocol: Protocol<P>, key: string): Peer<P> };
  /** A message to this actor itself, handled in a later turn. */
  readonly me: Peer<M>;
  /**
   * Starts a tool after the commit, at least once. With `reply` its result comes back as that message;
   * with `failed` only an error does. Returns the id of the effect.
   */
  execute<T extends Tool>(
    tool: T,
    input: z.input<T["input"]>,
    then?: { readonly reply?: ResultTells<M, T>; readonly failed?: ResultTells<M, T> },
  ): string;
  /**
   * Sends `message` to this actor later, once, even if every process dies. One reminder per `name`
   * (default: the message's name); setting it again replaces it. At least a second ahead to be exact.
   */
  remind<K extends keyof TellsOf<M>>(
    message: K,
    input: M[K] extends MessageDef ? InputOf<M[K]> : never,
    when: { readonly afterMs: number } | { readonly at: number },
    name?: string,
  ): void;
  /** Cancels a reminder by name; one that has fired but was not handled is dropped too. */
  forget(name: string): void;
  /**
   * Writes a projection into a bucket that people and gateways read. `create` leaves an existing value alone,
   * `patch` replaces the named fields of an existing one and makes none; `undefined` removes the key.
   */
  put(bucket: Bucket, key: string, value: unknown, options?: PutOptions): void;
  /**
   * Supervises an actor of this tenant, as this behaviour's `children` say: it is told to this one when it gives up.
   * Order matters: those supervised later are stopped first and restarted last. An actor has one parent, the last.
   */
  supervise<P extends Messages>(protocol: Protocol<P>, key: string): void;
  /** Supervises it no more; it stays as it is. */
  unsupervise<P extends Messages>(protocol: Protocol<P>, key: string): void;
  /** Those supervised, in order. */
  readonly children: readonly ActorRef[];
  /**
   * Takes nothing but control mail and reads from the next message on; everything else waits in the broker. For causes
   * that only something outside can put right. `code` is an error code or a word of the actor's own; `until` is in
   * ms since the epoch, without it `unpark` or an operator ends it.
   */
  park(code: string, message: string, until?: number): void;
  /** Ends parking: a handler of control mail that has learnt that the cause is gone calls it. */
  unpark(): void;
  /** Why this actor is parked; undefined when it is not. */
  readonly parked: Standing | undefined;
  /** Journaled actors only: appends an event to the log, numbered without a gap. Returns its seq. */
  emit(type: EventType, jobId: string | null, data: Record<string, unknown>, at?: number): number;
  /** Journaled actors only: the seq of the newest event. */
  readonly lastSeq: number;
  /** A sortable unique id: `prefix_01J...`. */
  newId(prefix: string): string;
  /** Adds to a counter or histogram once the turn has committed. */
  count(name: string, labels?: Readonly<Record<string, string>>, by?: number): void;
  observe(name: string, value: number, labels?: Readonly<Record<string, string>>): void;
}

export type Handler<S, M extends Messages, D extends MessageDef> = D extends {
  readonly type: "ask";
  readonly readOnly: true;
}
  ? (ctx: ReadContext<S>, input: ReceivedOf<D>) => DeepReadonly<OutputInput<D>>
  : D extends { readonly type: "ask" }
    ? (ctx: Context<S, M>, input: ReceivedOf<D>) => OutputInput<D>
    : (ctx: Context<S, M>, input: ReceivedOf<D>) => void;

type OutputInput<D extends MessageDef> = D extends { readonly output: infer O extends z.ZodType }
  ? z.input<O>
  : OutputOf<D>;

export type Handlers<S, M extends Messages> = { readonly [K in keyof M]: Handler<S, M, M[K]> };

export interface Behaviour<S, M extends Messages> {
  /** Parsed from the record at activation; every field needs a default, so that `{}` is a new actor. */
  readonly state: z.ZodType<S>;
  readonly handlers: Handlers<S, M>;
  /** Idle time in ms after which the activation leaves memory (default 60 000). */
  readonly passivateAfterMs?: number;
  /** What happens when a handler throws (default: `DEFAULT_SUPERVISION`). */
  readonly supervision?: Supervision;
  /**
   * What a restart ordered by a parent or an operator leaves of the actor. `keep` (the default): its state and reminders.
   * `reset`: neither; it begins anew. Its place in the mailbox stays in both, so that no message counts twice (R3).
   */
  readonly restart?: "keep" | "reset";
  /** A tell of the own protocol that is handled first after such a restart; its input is `{ code?, message? }`, why. */
  readonly onRestart?: keyof TellsOf<M> & string;
  /** What happens when an actor that this one supervises gives up (default: `DEFAULT_CHILDREN`). */
  readonly children?: ChildPolicy;
  /** Keep every record as a page of an event log, and number its events. */
  readonly journaled?: boolean;
}

/** A protocol with its behaviour: what a node registers. */
export interface ActorDefinition {
  readonly protocol: Protocol;
  readonly behaviour: Behaviour<unknown, Messages>;
}

/**
 * Binds a behaviour to a protocol. Handlers are synchronous: long work goes through `ctx.execute`.
 * The compiler refuses a missing handler, a wrong reply and a result message of another tool.
 */
export function actor<S, M extends Messages>(
  protocol: Protocol<M>,
  behaviour: Behaviour<S, M>,
): ActorDefinition {
  return { protocol, behaviour: behaviour as unknown as Behaviour<unknown, Messages> };
}
