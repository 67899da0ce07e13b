import type { Command } from "commander";
import { sessionSummarySchema } from "../../protocols/api.ts";
import { type CliContext, type ConnectionOptions, tenantCommand, wholeNumber } from "./context.ts";
import { humaneAgo } from "./humane.ts";
import { listAction } from "./list.ts";
import { oneLine } from "./terminal.ts";

interface SessionsOptions extends ConnectionOptions {
  readonly limit: number;
}

export function sessionsCommand(context: CliContext): Command {
  return tenantCommand("sessions", "list sessions, newest first")
    .option("--limit <count>", "at most so many", wholeNumber(1), 20)
    .action(
      listAction(context, "pro", {
        rows: (gateway, { limit, tenant }: SessionsOptions) =>
          gateway.list("/v1/sessions", sessionSummarySchema, { tenant }, limit),
        empty: "No sessions.",
        columns: (now) => [
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
      }),
    );
}
