import type { Command } from "commander";
import { sessionSummarySchema } from "../../protocols/api.ts";
import {
  action,
  type CliContext,
  type ConnectionOptions,
  connect,
  tenantCommand,
  wholeNumber,
} from "./context.ts";
import { humaneAgo } from "./humane.ts";
import { printList } from "./list.ts";
import { oneLine } from "./terminal.ts";

interface SessionsOptions extends ConnectionOptions {
  readonly limit: number;
}

export function sessionsCommand(context: CliContext): Command {
  return tenantCommand("sessions", "list sessions, newest first")
    .option("--limit <count>", "at most so many", wholeNumber(1), 20)
    .action(
      action(context, async (options: SessionsOptions) => {
        const gateway = await connect(context, options, "pro");
        const { tenant, limit } = options;
        const rows = await gateway.list("/v1/sessions", sessionSummarySchema, { tenant }, limit);
        const now = context.clock.now();
        return printList(context, {
          rows,
          json: options.json,
          empty: "No sessions.",
          columns: [
            { title: "SESSION", cell: (session) => session.id },
            { title: "AGENT", cell: (session) => oneLine(session.agent) },
            { title: "OWNER", cell: (session) => `${session.tenant}/${session.user}` },
            { title: "TIER", cell: (session) => session.tier },
            {
              title: "CREATED",
              align: "right",
              cell: (session) => humaneAgo(Date.parse(session.created_at), now),
            },
            { title: "TITLE", shrinks: true, cell: (session) => oneLine(session.title ?? "") },
          ],
        });
      }),
    );
}
