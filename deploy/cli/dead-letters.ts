import { Command } from "commander";
import { z } from "zod";
import {
  type ApiDeadLetter,
  deadLetterViewSchema,
  purgedSchema,
  wholeDeadLetterSchema,
} from "../../protocols/api-operators.ts";
import { BerthError } from "../../protocols/errors.ts";
import {
  action,
  type CliContext,
  type ConnectionOptions,
  connect,
  gatewayCommand,
} from "./context.ts";
import { EXIT } from "./exit-codes.ts";
import { renderFacts } from "./facts.ts";
import { humaneAgo } from "./humane.ts";
import { listAction, MOST } from "./list.ts";
import type { Column } from "./table.ts";
import { oneLine } from "./terminal.ts";

const PATH = "/v1/dead-letters";

interface ListOptions extends ConnectionOptions {
  readonly all?: boolean;
}

export function deadLettersCommand(context: CliContext): Command {
  const list = gatewayCommand("list", "what could not be handled, and why").action(
    listAction(context, "operator", {
      rows: (gateway) => gateway.list(PATH, deadLetterViewSchema, {}, MOST),
      empty: "No dead letters.",
      columns: letterColumns,
    }),
  );
  const show = gatewayCommand("show", "one letter, whole")
    .argument("<id>", "which letter")
    .action(
      action(context, (id: string, options: ConnectionOptions) => showLetter(context, id, options)),
    );
  const replay = gatewayCommand("replay", "send letters to their actors again")
    .argument("[ids...]", "which letters")
    .option("--all", "every letter there is")
    .action(
      action(context, (ids: string[], options: ListOptions) =>
        replayLetters(context, ids, options),
      ),
    );
  const purge = gatewayCommand("purge", "throw letters away for good")
    .argument("[ids...]", "which letters")
    .option("--all", "every letter there is")
    .action(
      action(context, (ids: string[], options: ListOptions) => purgeLetters(context, ids, options)),
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
  options: ListOptions,
): Promise<number> {
  const gateway = await connect(context, options, "operator");
  checkChoice(ids, options);
  const chosen =
    options.all === true
      ? (await gateway.list(PATH, deadLetterViewSchema, {}, MOST)).map(({ id }) => id)
      : ids;
  for (const id of chosen) {
    const path = `${PATH}/${encodeURIComponent(id)}/replay`;
    await gateway.send({ method: "POST", path, schema: z.unknown() });
    await context.terminal.out(
      options.json === true ? `${JSON.stringify({ replayed: id })}\n` : `replayed ${id}\n`,
    );
  }
  if (chosen.length === 0) await context.terminal.err("No dead letters.\n");
  return EXIT.ok;
}

async function purgeLetters(
  context: CliContext,
  ids: string[],
  options: ListOptions,
): Promise<number> {
  const gateway = await connect(context, options, "operator");
  checkChoice(ids, options);
  let purged = 0;
  if (options.all === true) {
    purged = (await gateway.send({ method: "DELETE", path: PATH, schema: purgedSchema })).purged;
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

function checkChoice(ids: readonly string[], options: ListOptions): void {
  if (ids.length > 0 !== (options.all === true)) return;
  throw new BerthError("config.invalid", "name the letters, or give --all");
}
