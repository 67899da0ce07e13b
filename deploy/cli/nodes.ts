import type { Command } from "commander";
import { nodeSchema } from "../../protocols/api-operators.ts";
import {
  action,
  type CliContext,
  type ConnectionOptions,
  connect,
  gatewayCommand,
} from "./context.ts";
import { humaneAgo } from "./humane.ts";
import { printList } from "./list.ts";

const MOST = 1_000;

export function nodesCommand(context: CliContext): Command {
  return gatewayCommand("nodes", "list live nodes (operators)").action(
    action(context, async (options: ConnectionOptions) => {
      const gateway = await connect(context, options, "operator");
      const rows = await gateway.list("/v1/nodes", nodeSchema, {}, MOST);
      const now = context.clock.now();
      return printList(context, {
        rows,
        json: options.json,
        empty: "No node holds a lease.",
        columns: [
          { title: "NODE", cell: (node) => node.id },
          {
            title: "STATE",
            cell: (node) => (node.draining ? context.terminal.paint("yellow", "draining") : "live"),
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
      });
    }),
  );
}
