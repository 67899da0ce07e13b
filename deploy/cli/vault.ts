import { Command } from "commander";
import type { z } from "zod";
import { vaultRotationSchema, vaultStateSchema } from "../../protocols/api-credentials.ts";
import { newVaultKey } from "../vault-keys.ts";
import {
  action,
  type CliContext,
  type ConnectionOptions,
  connect,
  gatewayCommand,
} from "./context.ts";
import { EXIT } from "./exit-codes.ts";
import { renderTable } from "./table.ts";

export function vaultCommand(context: CliContext): Command {
  const { terminal } = context;
  const status = gatewayCommand("status", "the vault's keys, and what is sealed under each").action(
    action(context, async (options: ConnectionOptions) => {
      const gateway = await connect(context, options, "operator");
      const state = await gateway.get("/v1/vault", vaultStateSchema);
      if (options.json === true) {
        await terminal.out(`${JSON.stringify(state)}\n`);
        return EXIT.ok;
      }
      const rows = state.keys.map((key, at) => ({ ...key, state: at === 0 ? "current" : "" }));
      const columns = [
        { title: "KEY", cell: ({ id }: { readonly id: string }) => id },
        {
          title: "CREDENTIALS",
          align: "right",
          cell: ({ credentials }: { readonly credentials: number }) => String(credentials),
        },
        { title: "STATE", cell: (row: { readonly state: string }) => row.state },
      ] as const;
      await terminal.out(renderTable(columns, rows, terminal));
      if (state.unreadable > 0)
        await terminal.err(
          `${state.unreadable} credentials are sealed under keys that are not here.\n`,
        );
      return EXIT.ok;
    }),
  );
  const rotate = gatewayCommand("rotate", "wrap every credential with the current key").action(
    action(context, (options: ConnectionOptions) => rotateAll(context, options)),
  );
  const newKey = new Command("new-key")
    .description("print a new line for the nodes' key files")
    .action(async () => {
      await terminal.out(`${newVaultKey()}\n`);
      context.setExitCode(EXIT.ok);
    });
  return new Command("vault")
    .description("look at the vault's keys, or change them (operators)")
    .addCommand(status, { isDefault: true })
    .addCommand(rotate)
    .addCommand(newKey);
}

/** In steps, so that it may be stopped at any time and begun again. */
async function rotateAll(context: CliContext, options: ConnectionOptions): Promise<number> {
  const { terminal } = context;
  const gateway = await connect(context, options, "operator");
  const sum = { rotated: 0, unchanged: 0, unreadable: 0 };
  let kek = "";
  const next = (after: string | null): Promise<z.infer<typeof vaultRotationSchema>> =>
    gateway.send({
      method: "POST",
      path: "/v1/vault/rotate",
      body: { after },
      schema: vaultRotationSchema,
    });
  for (let after: string | null = null; ; ) {
    const step = await next(after);
    kek = step.kek;
    sum.rotated += step.rotated;
    sum.unchanged += step.unchanged;
    sum.unreadable += step.unreadable;
    if (step.next === null) break;
    after = step.next;
    await terminal.err(`${sum.rotated + sum.unchanged} done, ${sum.rotated} of them rotated\n`);
  }
  const text =
    options.json === true
      ? JSON.stringify({ kek, ...sum })
      : `${sum.rotated} rotated, ${sum.unchanged} were under ${kek} already, ${sum.unreadable} unreadable`;
  await terminal.out(`${text}\n`);
  return sum.unreadable === 0 ? EXIT.ok : EXIT.jobFailed;
}
