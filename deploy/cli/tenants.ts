import type { Command } from "commander";
import { tenantSchema } from "../../protocols/api-operators.ts";
import { type CliContext, gatewayCommand } from "./context.ts";
import { humaneAgo } from "./humane.ts";
import { listAction, MOST } from "./list.ts";
import { oneLine } from "./terminal.ts";

export function tenantsCommand(context: CliContext): Command {
  const { terminal } = context;
  return gatewayCommand("tenants", "list tenants (operators)").action(
    listAction(context, "operator", {
      rows: (gateway) => gateway.list("/v1/tenants", tenantSchema, {}, MOST),
      empty: "No tenants.",
      columns: (now) => [
        { title: "TENANT", cell: (tenant) => tenant.id },
        { title: "TIER", cell: (tenant) => tenant.tier },
        {
          title: "STATE",
          cell: (tenant) => (tenant.suspended ? terminal.paint("red", "suspended") : "active"),
        },
        {
          title: "CREATED",
          align: "right",
          cell: (tenant) => humaneAgo(Date.parse(tenant.created_at), now),
        },
        { title: "NAME", shrinks: true, cell: (tenant) => oneLine(tenant.name) },
      ],
    }),
  );
}
