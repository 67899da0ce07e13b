import { Command } from "commander";
import { z } from "zod";
import { deadLetterViewSchema, purgedSchema } from "../../protocols/api-operators.ts";
import { BerthError } from "../../protocols/errors.ts";
import {
  action,
  type CliContext,
  type ConnectionOptions,
  connect,
  gatewayCommand,
} from "./context.ts";
import { EXIT } from "./exit-codes.ts";
import { humaneAgo } from "./humane.ts";
import { printList } from "./list.ts";
import { oneLine } from "./terminal.ts";

const PATH = "/v1/dead-letters";
const MOST = 1_000;

interface ListOptions extends ConnectionOptions {
  readonly all?: boolean;
}

export function deadLettersCommand(context: CliContext): Command {
  const list = gatewayCommand("list", "what could not be handled, and why").action(
    action(context, (options: ConnectionOptions) => listLetters(context, options)),
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
    .description("list, replay or purge dead letters (operators)")
    .addCommand(list, { isDefault: true })
    .addCommand(replay)
    .addCommand(purge);
}

async function listLetters(context: CliContext, options: ConnectionOptions): Promise<number> {
  const gateway = await connect(context, options, "operator");
  const rows = await gateway.list(PATH, deadLetterViewSchema, {}, MOST);
  const now = context.clock.now();
  return printList(context, {
    rows,
    json: options.json,
    empty: "No dead letters.",
    columns: [
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
    ],
  });
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
