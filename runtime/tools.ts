/** Implementations of tools, by the tool's name. Long work lives here, outside of turns. */
import type { ActorRef } from "../protocols/ids.ts";

/**
 * Runs the tool; must be safe to run again with the same effect id. Rejects with a `BerthError`, which the
 * actor receives. `signal` aborts when the node gives the actor up; whoever owns it next runs the tool again.
 */
export type ToolImplementation = (
  input: unknown,
  call: {
    readonly signal: AbortSignal;
    readonly caller: ActorRef;
    readonly effect: string;
    /** Of the trace that the tool belongs to, for what it calls. */
    readonly traceparent?: string | undefined;
  },
) => Promise<unknown>;

export type Tools = Readonly<Record<string, ToolImplementation>>;
