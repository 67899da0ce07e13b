import { Command } from "commander";
import { z } from "zod";
import {
  type ApiDeadLetter,
  deadLetterViewSchema,
  purgedSchema,
  replayedSchema,
  wholeDeadLetterSchema,
} from "../../protocols/api-operators.ts";
import { BerthError } from "../../protocols/errors.ts";
import { parseRefName } from "../../protocols/ids.ts";
import {
  action,
  type CliContext,
  type ConnectionOptions,
  connect,
  gatewayCommand,
} from "./context.ts";
import { EXIT } from "./exit-codes.ts";
import { renderFacts } from "./facts.ts";
import type { Gateway } from "./gateway.ts";
import { humaneAgo } from "./humane.ts";
import { listAction, MOST } from "./list.ts";
import type { Column } from "./table.ts";
import { oneLine } from "./terminal.ts";

const PATH = "/v1/dead-letters";

interface FilterOptions extends ConnectionOptions {
  readonly tenant?: string;
  readonly kind?: string;
  readonly actor?: string;
  readonly code?: string;
}

interface ManyOptions extends FilterOptions {
  readonly all?: boolean;
}

/** A command on letters that have something in common. */
function filterCommand(name: string, description: string): Command {
  return gatewayCommand(name, description)
    .option("--tenant <id>", "only of this tenant's actors")
    .option("--kind <kind>", "only of this kind of actor")
    .option("--actor <tenant/kind/key>", "only of this actor")
    .option("--code <code>", "only with this reason");
}

function filterOf({ actor, code, kind, tenant }: FilterOptions) {
  return { tenant, kind, code, ...(actor === undefined ? {} : parseRefName(actor)) };
}

export function deadLettersCommand(context: CliContext): Command {
  const list = filterCommand("list", "what could not be handled, and why").action(
    listAction(context, "operator", {
      rows: (gateway, options: FilterOptions) =>
        gateway.list(PATH, deadLetterViewSchema, filterOf(options), MOST),
      empty: "No dead letters.",
      columns: letterColumns,
    }),
  );
  const show = gatewayCommand("show", "one letter, whole")
    .argument("<id>", "which letter")
    .action(
      action(context, (id: string, options: ConnectionOptions) => showLetter(context, id, options)),
    );
  const replay = filterCommand("replay", "send letters to their actors again, oldest first")
    .argument("[ids...]", "which letters")
    .option("--all", "every letter there is, or every one that the other options leave")
    .action(
      action(context, (ids: string[], options: ManyOptions) =>
        replayLetters(context, ids, options),
      ),
    );
  const purge = filterCommand("purge", "throw letters away for good")
    .argument("[ids...]", "which letters")
    .option("--all", "every letter there is, or every one that the other options leave")
    .action(
      action(context, (ids: string[], options: ManyOptions) => purgeLetters(context, ids, options)),
    );
  return new Command("dead-letters")
    .description("list, show, replay or purge dead letters (operators)")
    .addCommand(list, { isDefault: true })
    .addCommand(show)
    .addCommand(replay)
    .addCommand(purge);
}

function letterColumns(now: number): readonly Column<ApiDeadLetter>[] {
  return [
    { title: "LETTER", cell: (letter) => letter.id },
    { title: "ACTOR", cell: ({ actor }) => `${actor.tenant}/${actor.kind}/${actor.key}` },
    { title: "MESSAGE", cell: (letter) => oneLine(letter.message) },
    { title: "TRIES", align: "right", cell: (letter) => String(letter.attempts) },
    { title: "WHEN", align: "right", cell: (letter) => humaneAgo(Date.parse(letter.at), now) },
    {
      title: "REASON",
      shrinks: true,
      cell: ({ reason }) => oneLine(`${reason.code}: ${reason.message}`),
    },
  ];
}

async function showLetter(
  context: CliContext,
  id: string,
  options: ConnectionOptions,
): Promise<number> {
  const gateway = await connect(context, options, "operator");
  const letter = await gateway.get(`${PATH}/${encodeURIComponent(id)}`, wholeDeadLetterSchema);
  const { actor, reason } = letter;
  const text =
    options.json === true
      ? `${JSON.stringify(letter)}\n`
      : renderFacts([
          ["letter", letter.id],
          ["actor", `${actor.tenant}/${actor.kind}/${actor.key}`],
          ["message", `${letter.message} (lane ${letter.lane})`],
          ["reason", `${reason.code}: ${reason.message}`],
          ["tries", `${letter.attempts}, under epoch ${letter.epoch}`],
          ["at", letter.at],
          ["payload", JSON.stringify(letter.payload, undefined, 2) ?? ""],
        ]);
  await context.terminal.out(text);
  return EXIT.ok;
}

async function replayLetters(
  context: CliContext,
  ids: string[],
  options: ManyOptions,
): Promise<number> {
  const gateway = await connect(context, options, "operator");
  checkChoice(ids, options);
  if (options.all === true) return replayAll(context, gateway, options);
  for (const id of ids) {
    const path = `${PATH}/${encodeURIComponent(id)}/replay`;
    await gateway.send({ method: "POST", path, schema: z.unknown() });
    await context.terminal.out(
      options.json === true ? `${JSON.stringify({ replayed: id })}\n` : `replayed ${id}\n`,
    );
  }
  return EXIT.ok;
}

/** Fails when some could not be sent: they stay. */
async function replayAll(
  { terminal }: CliContext,
  gateway: Gateway,
  options: ManyOptions,
): Promise<number> {
  const outcome = await gateway.send({
    method: "POST",
    path: `${PATH}/replay`,
    body: filterOf(options),
    schema: replayedSchema,
  });
  const { failed, replayed } = outcome;
  await terminal.out(
    options.json === true ? `${JSON.stringify(outcome)}\n` : `replayed ${replayed}\n`,
  );
  for (const { code, id, message } of failed) await terminal.err(`${id}: ${code}: ${message}\n`);
  return failed.length > 0 ? EXIT.transient : EXIT.ok;
}

async function purgeLetters(
  context: CliContext,
  ids: string[],
  options: ManyOptions,
): Promise<number> {
  const gateway = await connect(context, options, "operator");
  checkChoice(ids, options);
  let purged = 0;
  if (options.all === true) {
    const query = filterOf(options);
    purged = (await gateway.send({ method: "DELETE", path: PATH, query, schema: purgedSchema }))
      .purged;
  }
  for (const id of ids) {
    await gateway.send({
      method: "DELETE",
      path: `${PATH}/${encodeURIComponent(id)}`,
      schema: z.unknown(),
    });
    purged += 1;
  }
  await context.terminal.out(
    options.json === true ? `${JSON.stringify({ purged })}\n` : `purged ${purged}\n`,
  );
  return EXIT.ok;
}

function checkChoice(ids: readonly string[], options: ManyOptions): void {
  const { actor, all, code, kind, tenant } = options;
  const isFiltered = [actor, code, kind, tenant].some((given) => given !== undefined);
  if (ids.length > 0 ? all !== true && !isFiltered : all === true) return;
  throw new BerthError("config.invalid", "name the letters, or give --all");
}
