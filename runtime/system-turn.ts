/** The turns of the runtime's own messages: what they change of an actor, whatever its kind. */
import { BerthError } from "../protocols/errors.ts";
import { isSystemType, SYSTEM_MESSAGES, type SystemPayload } from "../protocols/system.ts";
import type { Stage } from "./stage.ts";
import { standingAt } from "./standing.ts";
import type { Message, TurnParts } from "./turn.ts";

/** Runs the handler of a tell of the actor's own protocol. */
type Deliver = (type: string, payload: unknown) => void;

/** Throws `actor.unknown_message` or `request.invalid` for mail that no runtime sends. */
export function runSystem(parts: TurnParts, message: Message, deliver: Deliver): void {
  const { type } = message;
  if (!isSystemType(type)) {
    throw new BerthError("actor.unknown_message", `the runtime knows no message "${type}"`);
  }
  const parsed = SYSTEM_MESSAGES[type].safeParse(message.payload);
  if (!parsed.success) throw new BerthError("request.invalid", `${type}: ${parsed.error.message}`);
  const { stage, now } = parts;
  switch (type) {
    case "$park":
      stage.stand({ type: "park", ...(parsed.data as SystemPayload<"$park">) }, now);
      return;
    case "$unpark":
      stage.stand({ type: "unpark" }, now);
      return;
    case "$stop":
      stage.stand({ type: "stop", ...(parsed.data as SystemPayload<"$stop">) }, now);
      cancelEffects(parts);
      return;
    case "$restart":
      restart(parts, deliver);
      return;
  }
}

/** An ordered restart: unlike OTP's, the state may outlive it, and what waits in the mailbox always does. */
function restart(parts: TurnParts, deliver: Deliver): void {
  const { definition, now, stage } = parts;
  const { behaviour } = definition;
  const why = standingAt(stage.standing, now);
  stage.stand({ type: "restart" }, now);
  stage.restarted = true;
  cancelEffects(parts);
  if (behaviour.restart === "reset") reset(stage, behaviour.state.parse({}));
  if (behaviour.onRestart === undefined) return;
  deliver(behaviour.onRestart, why ? { code: why.code, message: why.message } : {});
}

function reset(stage: Stage, state: unknown): void {
  // Copied, because zod hands the nested objects of a default to every actor that takes it.
  stage.state = structuredClone(state);
  for (const name of Object.keys(stage.reminders)) stage.forget(name);
}

/** Work of before counts no more: what it reports would reach an actor that never asked for it. */
function cancelEffects({ record, stage }: TurnParts): void {
  for (const id of Object.keys(record.effects)) stage.cancelEffect(id);
}
