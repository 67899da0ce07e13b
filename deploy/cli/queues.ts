import type { Command } from "commander";
import { type ApiQueue, queuePageSchema } from "../../protocols/api-operators.ts";
import {
  action,
  type CliContext,
  type ConnectionOptions,
  connect,
  gatewayCommand,
} from "./context.ts";
import { humaneAgo } from "./humane.ts";
import { printList } from "./list.ts";

export function queuesCommand(context: CliContext): Command {
  return gatewayCommand("queues", "show what waits, by tier (operators)").action(
    action(context, async (options: ConnectionOptions) => {
      const gateway = await connect(context, options, "operator");
      const { data: rows, unanswered } = await gateway.get("/v1/queues", queuePageSchema);
      if (unanswered > 0)
        await context.terminal.err(
          `${unanswered} places did not answer: these are lower bounds.\n`,
        );
      const now = context.clock.now();
      return printList(context, {
        rows,
        json: options.json,
        empty: "No queues.",
        columns: [
          { title: "TIER", cell: (queue) => queue.tier },
          { title: "QUEUED", align: "right", cell: (queue) => String(queue.queued) },
          { title: "OLDEST", align: "right", cell: (queue) => oldestText(queue, now) },
          { title: "PLACES", align: "right", cell: (queue) => String(queue.places) },
          { title: "WORKERS", cell: workersText },
        ],
      });
    }),
  );
}

const oldestText = (queue: ApiQueue, now: number) =>
  queue.oldest_queued_at === null ? "-" : humaneAgo(Date.parse(queue.oldest_queued_at), now);

const workersText = (queue: ApiQueue) =>
  Object.entries(queue.workers)
    .filter(([, count]) => count > 0)
    .map(([phase, count]) => `${count} ${phase}`)
    .join(", ") || "none";
