/** `berth node`, `berth gateway` and `berth operator-key`: a deployment of several processes. */
import { Command } from "commander";
import { action, type CliContext } from "./context.ts";
import { EXIT } from "./exit-codes.ts";
import { stayUp } from "./stay-up.ts";
import type { Starters } from "./up.ts";

interface NatsOptions {
  readonly nats?: string;
}

const roleCommand = (name: string, description: string): Command =>
  new Command(name)
    .description(description)
    .option("--nats <url>", "the nats-server; several of a cluster with commas (BERTH_NATS_URL)");

export function nodeCommand(context: CliContext, starters: Starters): Command {
  return roleCommand("node", "run a node: actors, and workers of this machine")
    .option("--end-workers", "end the workers with the node, which interrupts their jobs", false)
    .action(
      action(context, ({ nats, endWorkers }: NatsOptions & { endWorkers: boolean }) =>
        stayUp(context, (print) => starters.node({ nats, endWorkers, print })),
      ),
    );
}

export function gatewayRoleCommand(context: CliContext, starters: Starters): Command {
  return roleCommand("gateway", "run a gateway: HTTP API, streams, dashboard").action(
    action(context, ({ nats }: NatsOptions) =>
      stayUp(context, (print) => starters.gateway({ nats, print })),
    ),
  );
}

export function operatorKeyCommand(context: CliContext, starters: Starters): Command {
  return roleCommand("operator-key", "make an API key for an operator and print it, once")
    .option("--name <name>", "what the key is called", "operator")
    .action(
      action(context, async ({ nats, name }: NatsOptions & { name: string }) => {
        const key = await starters.operatorKey({ nats, name });
        await context.terminal.out(`${key}\n`);
        return EXIT.ok;
      }),
    );
}
