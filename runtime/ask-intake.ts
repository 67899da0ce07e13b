/** Turns an incoming request into an ask that an activation can handle, or refuses it. */
import type { AskRequest } from "../protocols/envelope.ts";
import { BerthError } from "../protocols/errors.ts";
import type { ActorRef } from "../protocols/ids.ts";
import { refOfSubject, workerOfUp } from "../protocols/subjects.ts";
import type { ActorDefinition } from "./actor.ts";
import { decodeAsk } from "./ask-codec.ts";
import type { Clock } from "./clock.ts";
import type { AskItem } from "./inbox.ts";
import type { Incoming } from "./transport.ts";
import type { ServedElsewhere } from "./version-skew.ts";

/** Whether a worker may send this message to this actor. */
export type AdmitUplink = (worker: string, ref: ActorRef, type: string, input: unknown) => boolean;

export interface Intake {
  readonly definitions: ReadonlyMap<string, ActorDefinition>;
  readonly admitUplink: AdmitUplink;
  readonly clock: Clock;
  readonly servedElsewhere: ServedElsewhere;
}

export interface Taken {
  readonly ref: ActorRef;
  readonly item: AskItem;
}

/** Throws the `BerthError` to answer with. `fromWorker` says that the subject names a worker, who must be admitted. */
export function takeAsk(intake: Intake, incoming: Incoming, fromWorker: boolean): Taken {
  const ref = refOfSubject(incoming.subject);
  const request: AskRequest = decodeAsk(incoming.data);
  const definition = intake.definitions.get(ref.kind);
  if (!definition) {
    if (intake.servedElsewhere(ref.kind)) throw new BerthError("node.outdated");
    throw new BerthError("actor.unknown_kind", `no node serves "${ref.kind}"`);
  }
  const messages = definition.protocol.messages;
  const def = Object.hasOwn(messages, request.type) ? messages[request.type] : undefined;
  if (def?.type !== "ask") {
    if (!def && intake.servedElsewhere(ref.kind, request.type))
      throw new BerthError("node.outdated");
    throw new BerthError("actor.unknown_message", `${ref.kind} takes no ask "${request.type}"`);
  }
  const parsed = def.input.safeParse(request.payload);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new BerthError("request.invalid", issue?.message, { field: issue?.path.join(".") });
  }
  if (fromWorker) {
    const worker = workerOfUp(incoming.subject);
    if (!intake.admitUplink(worker, ref, request.type, parsed.data)) {
      throw new BerthError("auth.forbidden", "a worker may not send this");
    }
    delete request.by; // A worker numbers its frames itself, and must not speak for a client.
  }
  const respond = (answer: Uint8Array) => incoming.reply(answer);
  const receivedAt = intake.clock.now();
  return { ref, item: { type: "ask", request, def, input: parsed.data, receivedAt, respond } };
}
