/** The typed client: how anything that is not an actor talks to actors. */
import type { ActorRef } from "../protocols/ids.ts";
import type {
  AsksOf,
  InputOf,
  MessageDef,
  Messages,
  OutputOf,
  Protocol,
  TellsOf,
} from "../protocols/protocol.ts";

export interface CallOptions {
  /** How long the caller waits in all, retries included (default 5 000). */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Makes a retried tell one message; default a fresh id. */
  readonly id?: string;
  readonly traceparent?: string;
}

/** Asks as functions that resolve with the answer; tells as functions that resolve once stored. */
export type ActorHandle<M extends Messages> = {
  readonly [K in keyof AsksOf<M>]: M[K] extends MessageDef
    ? (input: InputOf<M[K]>, options?: CallOptions) => Promise<OutputOf<M[K]>>
    : never;
} & {
  readonly [K in keyof TellsOf<M>]: M[K] extends MessageDef
    ? (input: InputOf<M[K]>, options?: CallOptions) => Promise<void>
    : never;
};

export interface Client {
  /**
   * A handle on an actor; costs nothing. Platform protocols ignore `tenant`. An ask that met a moving actor
   * is sent again until its deadline; one whose fate is unknown rejects with `ask.timeout`. An ask is handled
   * after this client's earlier tells to the same actor (R4).
   */
  actor<M extends Messages>(protocol: Protocol<M>, tenant: string, key: string): ActorHandle<M>;
  /** The same by ref, for messages only known at run time. Input is checked against no schema here, but at the actor. */
  ask(ref: ActorRef, type: string, input: unknown, options?: CallOptions): Promise<unknown>;
}
