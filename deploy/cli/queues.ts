import type { Command } from "commander";
import { type ApiQueue, queuePageSchema } from "../../protocols/api-operators.ts";
import { type CliContext, gatewayCommand } from "./context.ts";
import type { Gateway } from "./gateway.ts";
import { humaneAgo } from "./humane.ts";
import { listAction } from "./list.ts";

export function queuesCommand(context: CliContext): Command {
  return gatewayCommand("queues", "show what waits, by tier (operators)").action(
    listAction(context, "operator", {
      rows: (gateway) => readQueues(context, gateway),
      empty: "No queues.",
      columns: (now) => [
        { title: "TIER", cell: (queue) => queue.tier },
        { title: "QUEUED", align: "right", cell: (queue) => String(queue.queued) },
        { title: "OLDEST", align: "right", cell: (queue) => oldestText(queue, now) },
        { title: "PLACES", align: "right", cell: (queue) => String(queue.places) },
        { title: "WORKERS", cell: workersText },
      ],
    }),
  );
}

async function readQueues({ terminal }: CliContext, gateway: Gateway): Promise<ApiQueue[]> {
  const { data, unanswered } = await gateway.get("/v1/queues", queuePageSchema);
  if (unanswered > 0)
    await terminal.err(`${unanswered} places did not answer: these are lower bounds.\n`);
  return data;
}

const oldestText = (queue: ApiQueue, now: number) =>
  queue.oldest_queued_at === null ? "-" : humaneAgo(Date.parse(queue.oldest_queued_at), now);

const workersText = (queue: ApiQueue) =>
  Object.entries(queue.workers)
    .filter(([, count]) => count > 0)
    .map(([phase, count]) => `${count} ${phase}`)
    .join(", ") || "none";
