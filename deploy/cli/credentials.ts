import { Command } from "commander";
import { z } from "zod";
import { type Credential, credentialSchema } from "../../protocols/api-credentials.ts";
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
import { listAction, MOST } from "./list.ts";
import { oneLine } from "./terminal.ts";

const PATH = "/v1/credentials";
const pathOf = (provider: string) => `${PATH}/${encodeURIComponent(provider)}`;

export function credentialsCommand(context: CliContext): Command {
  const list = gatewayCommand("list", "your provider keys, without their values").action(
    listAction(context, "pro", {
      rows: (gateway) => gateway.list(PATH, credentialSchema, {}, MOST),
      empty: "No credentials. berth credentials set PROVIDER stores one.",
      columns: (now) => [
        { title: "PROVIDER", cell: ({ provider }) => provider },
        { title: "ENDS IN", cell: ({ hint }) => (hint === null ? "-" : oneLine(hint)) },
        { title: "SET", align: "right", cell: (one) => humaneAgo(Date.parse(one.updated_at), now) },
        { title: "USED", align: "right", cell: (one) => usedText(one, now) },
        { title: "VARIABLES", shrinks: true, cell: ({ environment }) => environment.join(", ") },
      ],
    }),
  );
  const set = gatewayCommand("set", "store a key: from standard input, or typed unseen")
    .argument("<provider>", "claude_oauth, claude_api, codex, openai, gemini, deepseek or another")
    .action(
      action(context, (provider: string, options: ConnectionOptions) =>
        setCredential(context, provider, options),
      ),
    );
  const remove = gatewayCommand("remove", "remove a key")
    .argument("<provider>", "whose key")
    .action(
      action(context, async (provider: string, options: ConnectionOptions) => {
        const gateway = await connect(context, options, "pro");
        await gateway.send({ method: "DELETE", path: pathOf(provider), schema: z.object({}) });
        const told =
          options.json === true ? JSON.stringify({ removed: provider }) : `${provider} is removed`;
        await context.terminal.out(`${told}\n`);
        return EXIT.ok;
      }),
    );
  return new Command("credentials")
    .description("list, set or remove your provider keys")
    .addCommand(list, { isDefault: true })
    .addCommand(set)
    .addCommand(remove);
}

/** The value is never an argument: those are seen by every process of the machine, and kept in a shell's history. */
async function setCredential(
  context: CliContext,
  provider: string,
  options: ConnectionOptions,
): Promise<number> {
  if (options.keyStdin === true)
    throw new BerthError(
      "config.invalid",
      "standard input is the value: give the API key otherwise",
    );
  const gateway = await connect(context, options, "pro");
  const value = (await context.readSecret(`key of ${provider}: `)).replace(/\r?\n$/, "");
  if (value === "") throw new BerthError("config.invalid", "the value is empty");
  const schema = credentialSchema;
  const stored = await gateway.send({
    method: "PUT",
    path: pathOf(provider),
    schema,
    body: { value },
  });
  const told = options.json === true ? JSON.stringify(stored) : `${provider} is stored`;
  await context.terminal.out(`${told}\n`);
  return EXIT.ok;
}

const usedText = ({ used_at }: Credential, now: number) =>
  used_at === null ? "never" : humaneAgo(Date.parse(used_at), now);
