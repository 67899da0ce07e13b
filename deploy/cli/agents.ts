import type { Command } from "commander";
import { agentSchema } from "../../protocols/api.ts";
import { type CliContext, gatewayCommand } from "./context.ts";
import { listAction, MOST } from "./list.ts";

export function agentsCommand(context: CliContext): Command {
  return gatewayCommand("agents", "list the agents that jobs may name").action(
    listAction(context, "pro", {
      rows: (gateway) => gateway.list("/v1/agents", agentSchema, {}, MOST),
      empty: "No agents.",
      columns: () => [{ title: "AGENT", cell: ({ id }) => id }],
    }),
  );
}
