import type { Command } from "commander";
import { nodeSchema } from "../../protocols/api-operators.ts";
import { type CliContext, gatewayCommand } from "./context.ts";
import { humaneAgo } from "./humane.ts";
import { listAction, MOST } from "./list.ts";

export function nodesCommand(context: CliContext): Command {
  const { terminal } = context;
  return gatewayCommand("nodes", "list live nodes (operators)").action(
    listAction(context, "operator", {
      rows: (gateway) => gateway.list("/v1/nodes", nodeSchema, {}, MOST),
      empty: "No node holds a lease.",
      columns: (now) => [
        { title: "NODE", cell: (node) => node.id },
        {
          title: "STATE",
          cell: (node) => (node.draining ? terminal.paint("yellow", "draining") : "live"),
        },
        { title: "PARTITIONS", align: "right", cell: (node) => String(node.partitions) },
        {
          title: "DRIVERS",
          cell: (node) =>
            node.drivers.map(({ name, max_workers }) => `${name} (${max_workers})`).join(", "),
        },
        {
          title: "STARTED",
          align: "right",
          cell: (node) => humaneAgo(Date.parse(node.started_at), now),
        },
        { title: "VERSION", cell: (node) => node.version },
      ],
    }),
  );
}
