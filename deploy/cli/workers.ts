import type { Command } from "commander";
import { type ApiWorker, workerSchema } from "../../protocols/api-operators.ts";
import { type CliContext, type ConnectionOptions, tenantCommand } from "./context.ts";
import { humaneAgo, humaneDuration } from "./humane.ts";
import { listAction, MOST } from "./list.ts";
import { paintState } from "./tones.ts";

export function workersCommand(context: CliContext): Command {
  return tenantCommand(
    "workers",
    "list workers with their state and idle countdown (operators)",
  ).action(
    listAction(context, "operator", {
      rows: (gateway, { tenant }: ConnectionOptions) =>
        gateway.list("/v1/workers", workerSchema, { tenant }, MOST),
      empty: "No workers.",
      columns: (now) => [
        { title: "WORKER", cell: (worker) => worker.id },
        { title: "STATE", cell: (worker) => paintState(context.terminal, worker.phase) },
        { title: "TIER", cell: (worker) => worker.tier },
        {
          title: "FOR",
          cell: (worker) => [worker.tenant, worker.user, worker.agent].filter(Boolean).join("/"),
        },
        {
          title: "SLOTS",
          align: "right",
          cell: (worker) => `${worker.jobs.length}/${worker.slots}`,
        },
        { title: "IDLE", align: "right", cell: (worker) => idleText(worker, now) },
        {
          title: "AGE",
          align: "right",
          cell: (worker) => humaneAgo(Date.parse(worker.created_at), now),
        },
        { title: "DRIVER", cell: (worker) => worker.driver ?? "" },
        { title: "HOST", cell: (worker) => worker.host ?? "" },
      ],
    }),
  );
}

/** How long a worker has been idle, and when it goes. */
export function idleText(
  worker: Pick<ApiWorker, "idle_since" | "idle_deadline">,
  now: number,
): string {
  if (worker.idle_since === null) return "-";
  const idle = humaneDuration(now - Date.parse(worker.idle_since));
  if (worker.idle_deadline === null) return idle;
  return `${idle}, goes in ${humaneDuration(Math.max(0, Date.parse(worker.idle_deadline) - now))}`;
}
