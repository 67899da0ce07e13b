import type { Command } from "commander";
import { agentSchema } from "../../protocols/api.ts";
import {
  action,
  type CliContext,
  type ConnectionOptions,
  connect,
  gatewayCommand,
} from "./context.ts";
import { printList } from "./list.ts";

const MOST = 1_000;

export function agentsCommand(context: CliContext): Command {
  return gatewayCommand("agents", "list the agents that jobs may name").action(
    action(context, async (options: ConnectionOptions) => {
      const gateway = await connect(context, options, "pro");
      return printList(context, {
        rows: await gateway.list("/v1/agents", agentSchema, {}, MOST),
        json: options.json,
        empty: "No agents.",
        columns: [{ title: "AGENT", cell: ({ id }) => id }],
      });
    }),
  );
}
