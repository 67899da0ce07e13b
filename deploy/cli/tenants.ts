import type { Command } from "commander";
import { tenantSchema } from "../../protocols/api-operators.ts";
import {
  action,
  type CliContext,
  type ConnectionOptions,
  connect,
  gatewayCommand,
} from "./context.ts";
import { humaneAgo } from "./humane.ts";
import { printList } from "./list.ts";
import { oneLine } from "./terminal.ts";

const MOST = 1_000;

export function tenantsCommand(context: CliContext): Command {
  return gatewayCommand("tenants", "list tenants (operators)").action(
    action(context, async (options: ConnectionOptions) => {
      const gateway = await connect(context, options, "operator");
      const rows = await gateway.list("/v1/tenants", tenantSchema, {}, MOST);
      const now = context.clock.now();
      return printList(context, {
        rows,
        json: options.json,
        empty: "No tenants.",
        columns: [
          { title: "TENANT", cell: (tenant) => tenant.id },
          { title: "TIER", cell: (tenant) => tenant.tier },
          {
            title: "STATE",
            cell: (tenant) =>
              tenant.suspended ? context.terminal.paint("red", "suspended") : "active",
          },
          {
            title: "CREATED",
            align: "right",
            cell: (tenant) => humaneAgo(Date.parse(tenant.created_at), now),
          },
          { title: "NAME", shrinks: true, cell: (tenant) => oneLine(tenant.name) },
        ],
      });
    }),
  );
}
