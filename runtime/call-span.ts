/** The span of a call from outside: from before an ask or a tell is sent until its fate is known. */
import { asBerthError } from "../protocols/errors.ts";
import type { ActorRef } from "../protocols/ids.ts";
import type { Tracer } from "./tracing.ts";

export interface TracedCall {
  readonly verb: "ask" | "tell";
  readonly ref: ActorRef;
  readonly type: string;
  readonly parent: string | undefined;
}

/** Runs `send` with the `traceparent` that the message carries. */
export async function inSpan<T>(
  tracer: Tracer,
  { parent, ref, type, verb }: TracedCall,
  send: (traceparent: string) => Promise<T>,
): Promise<T> {
  const span = tracer.start(`${verb} ${ref.kind} ${type}`, {
    kind: "client",
    parent: parent ?? tracer.active(),
    attributes: {
      "berth.actor.kind": ref.kind,
      "berth.actor.tenant": ref.tenant,
      "berth.actor.key": ref.key,
      "berth.message": type,
    },
  });
  try {
    return await send(span.traceparent);
  } catch (thrown) {
    span.fail(asBerthError(thrown));
    throw thrown;
  } finally {
    span.end();
  }
}
