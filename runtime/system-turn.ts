/** The turns of the runtime's own messages: what they change of an actor, whatever its kind. */
import { BerthError } from "../protocols/errors.ts";
import type { ActorRef } from "../protocols/ids.ts";
import {
  isSystemType,
  SYSTEM_MESSAGES,
  type SystemPayload,
  type SystemType,
} from "../protocols/system.ts";
import { letterOf } from "./dead-letters.ts";
import { isSame } from "./family.ts";
import {
  acknowledgeOrder,
  answered,
  childFailed,
  type FamilyTurn,
  forgetChild,
  restartFamily,
  stopFamily,
} from "./family-turn.ts";
import { standingAt } from "./standing.ts";
import type { Mail } from "./transport.ts";
import type { Message, TurnParts } from "./turn.ts";

/** What a system message's turn is given. */
interface SystemTurn {
  readonly parts: TurnParts;
  readonly family: FamilyTurn;
  readonly mail: Mail;
  readonly from: ActorRef | undefined;
  /** Runs the handler of a tell of the actor's own protocol. */
  readonly deliver: (type: string, payload: unknown) => void;
}

type Run<T extends SystemType> = (turn: SystemTurn, payload: SystemPayload<T>) => void;

const RUNS: { readonly [T in SystemType]: Run<T> } = {
  $park: ({ parts }, cause) => parts.stage.stand({ type: "park", ...cause }, parts.now),
  $unpark: ({ parts }) => parts.stage.stand({ type: "unpark" }, parts.now),
  $stop(turn, { code, message, until, ...order }) {
    if (!takeOrder(turn, order)) return;
    cancelEffects(turn.parts);
    stopFamily(turn.family, { code, message, until }, asked(order));
  },
  $restart(turn, order) {
    if (takeOrder(turn, order)) restart(turn, asked(order));
  },
  $adopt({ family, from }, { generation }) {
    const { parent } = family.stage.family;
    if (!from) return;
    if (parent && !isSame(parent.ref, from)) {
      family.stage.tell(parent.ref, "system", "$left", {}, NO_CAUSE, family.now);
    }
    family.stage.change({ parent: { ref: from, generation } });
  },
  $release({ family, from }) {
    const { parent } = family.stage.family;
    if (parent && from && isSame(parent.ref, from)) family.stage.change({ parent: undefined });
  },
  $left({ family, from }) {
    if (from) forgetChild(family, from);
  },
  $failed(turn, failure) {
    if (!turn.from || childFailed(turn.family, turn.from, failure)) return;
    if (!turn.family.stage.family.parent) bury(turn);
  },
  $done: ({ family }, { generation }) => answered(family, generation),
  $late({ family, parts }, { generation }) {
    parts.log.warn({ generation }, "a child has not obeyed in time; the next one's turn comes");
    answered(family, generation);
  },
};

const NO_CAUSE = { id: undefined, traceparent: undefined };

/** Throws `actor.unknown_message` or `request.invalid` for mail that no runtime sends. */
export function runSystem(
  parts: TurnParts,
  mail: Mail,
  message: Message,
  deliver: SystemTurn["deliver"],
): void {
  const { type, envelope } = message;
  if (!isSystemType(type)) {
    throw new BerthError("actor.unknown_message", `the runtime knows no message "${type}"`);
  }
  const parsed = SYSTEM_MESSAGES[type].safeParse(message.payload);
  if (!parsed.success) throw new BerthError("request.invalid", `${type}: ${parsed.error.message}`);
  const { definition, now, stage } = parts;
  const cause = { id: envelope?.id, traceparent: envelope?.traceparent };
  const family = { stage, now, cause, policy: definition.behaviour.children };
  const run = RUNS[type] as Run<SystemType>;
  run({ parts, family, mail, from: envelope?.from, deliver }, parsed.data);
}

interface Order {
  readonly generation?: number | undefined;
  readonly acknowledge?: boolean | undefined;
}

/** Whether to obey: an operator always, the parent once for each generation (Y1), nobody else. */
function takeOrder({ family, from }: SystemTurn, order: Order): boolean {
  if (!from) return true;
  const { parent } = family.stage.family;
  if (!parent || !isSame(parent.ref, from)) return false;
  const { generation } = order;
  if (generation === undefined) return true;
  if (generation <= parent.generation) {
    acknowledgeOrder(family, asked(order));
    return false;
  }
  family.stage.change({ parent: { ref: from, generation } });
  return true;
}

function asked({ acknowledge, generation }: Order): number | undefined {
  return acknowledge ? generation : undefined;
}

/** An ordered restart: unlike OTP's, the state may outlive it, and what waits in the mailbox always does. */
function restart({ deliver, family, parts }: SystemTurn, acknowledge: number | undefined): void {
  const { definition, now, stage } = parts;
  const { behaviour } = definition;
  const why = standingAt(stage.standing, now);
  stage.stand({ type: "restart" }, now);
  stage.restarted = true;
  cancelEffects(parts);
  if (behaviour.restart === "reset") {
    // Copied, because zod hands the nested objects of a default to every actor that takes it.
    stage.state = structuredClone(behaviour.state.parse({}));
    for (const name of Object.keys(stage.reminders)) stage.forget(name);
  }
  if (behaviour.onRestart !== undefined) {
    deliver(behaviour.onRestart, why ? { code: why.code, message: why.message } : {});
  }
  restartFamily(family, acknowledge);
}

/** Work of before counts no more: what it reports would reach an actor that never asked for it. */
function cancelEffects({ record, stage }: TurnParts): void {
  for (const id of Object.keys(record.effects)) stage.cancelEffect(id);
}

/** Nobody is left to escalate to: the last failure of a child stands in the dead letters. */
function bury({ mail, parts }: SystemTurn): void {
  const { epoch, self, stage } = parts;
  const error = new BerthError("actor.children_failed");
  const by = { epoch, attempts: 1, at: parts.now };
  stage.add({ op: "dead", letter: letterOf(mail, error, by) });
  const labels = { kind: self.kind };
  stage.metrics.push({ type: "count", name: "berth_dead_letters_total", value: 1, labels });
}
