import { Command } from "commander";
import {
  ACTOR_ORDERS,
  type ApiActor,
  actorSchema,
  orderedActorSchema,
} from "../../protocols/api-operators.ts";
import { parseDuration } from "../../protocols/duration.ts";
import { parseRefName } from "../../protocols/ids.ts";
import type { ApiActivation } from "../../protocols/inspection.ts";
import { stateText } from "./actors.ts";
import {
  action,
  type CliContext,
  type ConnectionOptions,
  connect,
  gatewayCommand,
} from "./context.ts";
import { EXIT } from "./exit-codes.ts";
import { type Fact, renderFacts } from "./facts.ts";
import { humaneDuration } from "./humane.ts";

interface ShowOptions extends ConnectionOptions {
  readonly state?: boolean;
}

interface OrderOptions extends ConnectionOptions {
  readonly reason?: string;
  readonly for?: string;
}

type Order = (typeof ACTOR_ORDERS)[number];

const ORDERS: Readonly<Record<Order, string>> = {
  restart: "end a stop or a parking, cancel its tools and begin again",
  unpark: "let a parked actor take messages again",
  park: "take nothing but control mail and reads",
  stop: "take nothing at all and cancel its tools",
};

export function actorCommand(context: CliContext): Command {
  const show = gatewayCommand("show", "what it waits on, and what it has stored")
    .argument("<actor>", "tenant/kind/key, as lists show it")
    .option("--state", "its own state too, which may be private")
    .action(
      action(context, (name: string, options: ShowOptions) => showActor(context, name, options)),
    );
  const command = new Command("actor")
    .description("look into one actor, or order it about (operators)")
    .addCommand(show);
  for (const order of ACTOR_ORDERS) command.addCommand(orderCommand(context, order));
  return command;
}

function orderCommand(context: CliContext, order: Order): Command {
  const command = gatewayCommand(order, ORDERS[order]).argument("<actor>", "tenant/kind/key");
  if (order === "park" || order === "stop") {
    command
      .option("--reason <text>", "told to whoever asks the actor")
      .option("--for <duration>", "ends by itself after so long, such as 10m");
  }
  return command.action(
    action(context, (name: string, options: OrderOptions) =>
      orderActor(context, order, name, options),
    ),
  );
}

function pathOf(name: string): string {
  const { tenant, kind, key } = parseRefName(name);
  return `/v1/actors/${tenant}/${kind}/${key}`;
}

async function orderActor(
  context: CliContext,
  order: Order,
  name: string,
  options: OrderOptions,
): Promise<number> {
  const path = `${pathOf(name)}/${order}`;
  const gateway = await connect(context, options, "operator");
  const body = {
    ...(options.reason === undefined ? {} : { reason: options.reason }),
    ...(options.for === undefined ? {} : { for_ms: parseDuration(options.for) }),
  };
  const told = await gateway.send({ method: "POST", path, schema: orderedActorSchema, body });
  await context.terminal.out(
    options.json === true ? `${JSON.stringify(told)}\n` : `${order} is ordered of ${name}\n`,
  );
  return EXIT.ok;
}

async function showActor(context: CliContext, name: string, options: ShowOptions): Promise<number> {
  const path = pathOf(name);
  const gateway = await connect(context, options, "operator");
  const query = options.state === true ? { state: "true" } : {};
  const actor = await gateway.get(path, actorSchema, query);
  await context.terminal.out(
    options.json === true ? `${JSON.stringify(actor)}\n` : renderFacts(factsOf(actor)),
  );
  return EXIT.ok;
}

/** An actor as lines of names and values. */
export function factsOf(actor: ApiActor): readonly Fact[] {
  const { active, owner, partition, record } = actor;
  return [
    ["actor", `${actor.tenant}/${actor.kind}/${actor.key}`],
    ["owner", `${owner ?? "nobody answers"}, partition ${partition}`],
    ...(active ? activeFacts(active) : [["in memory", "no"] as const]),
    ...(record ? recordFacts(record) : [["record", "none"] as const]),
  ];
}

function activeFacts(active: ApiActivation): readonly Fact[] {
  const waiting = Object.entries(active.mailbox)
    .filter(([, depth]) => depth > 0)
    .map(([lane, depth]) => `${depth} ${lane}`);
  const oldest = active.oldest_waiting_ms;
  const age = oldest === null ? "" : `, the oldest for ${humaneDuration(oldest)}`;
  const { last_error: error } = active;
  return [
    ["state", `${stateText(active.state)}, for ${humaneDuration(active.for_ms)}`],
    ["waiting", waiting.length === 0 ? "nothing" : `${waiting.join(", ")}${age}`],
    ["turns", `${active.turns} since it came into memory, under epoch ${active.epoch}`],
    ...active.effects.map(({ for_ms, id, tool }): Fact => {
      const since = for_ms === null ? "not begun here" : `for ${humaneDuration(for_ms)}`;
      return ["effect", `${tool} ${since} (${id})`];
    }),
    ...(error ? [["last error", `${error.code}: ${error.message} (${error.at})`] as const] : []),
  ];
}

function recordFacts(record: NonNullable<ApiActor["record"]>): readonly Fact[] {
  const { cursor, effects, outbox, reminders, standing } = record;
  const places = Object.entries(cursor).map(([lane, seq]) => `${lane} ${seq}`);
  const kept = record.journaled ? "page of the journal" : "record";
  return [
    ["record", `${kept}, revision ${record.revision}`],
    ["written", `commit ${record.commit} under epoch ${record.epoch} by ${record.writer}`],
    ["cursor", places.join(", ") || "no mail yet"],
    ...(standing ? [["standing", standingText(standing)] as const] : []),
    ...outbox.map(({ op, to }): Fact => ["outbox", `${op} to ${to}`]),
    ...effects.map(({ id, tool }): Fact => ["open effect", `${tool} (${id})`]),
    ["reminders", reminders.join(", ") || "none"],
    ["heard", `${record.heard} senders`],
    ...(record.last_seq === null ? [] : [["last event", String(record.last_seq)] as const]),
    ...("state" in record
      ? [["own state", JSON.stringify(record.state, undefined, 2) ?? ""] as const]
      : []),
  ];
}

function standingText(standing: NonNullable<NonNullable<ApiActor["record"]>["standing"]>): string {
  const { code, message, since, state, until } = standing;
  const end = until === null ? "" : ` until ${until}`;
  return `${state} since ${since}${end} by ${code}: ${message}`;
}
