import type { Command } from "commander";
import { drainedNodeSchema, nodeSchema } from "../../protocols/api-operators.ts";
import { BerthError } from "../../protocols/errors.ts";
import {
  action,
  type CliContext,
  type ConnectionOptions,
  connect,
  gatewayCommand,
} from "./context.ts";
import { EXIT } from "./exit-codes.ts";
import type { Gateway } from "./gateway.ts";

const MOST = 1_000;

export function drainCommand(context: CliContext): Command {
  return gatewayCommand("drain", "let a node hand its work over and take no more (operators)")
    .argument("[node]", "which node; may be left out where there is one")
    .action(
      action(context, async (named: string | undefined, options: ConnectionOptions) => {
        const gateway = await connect(context, options, "operator");
        const node = named ?? (await onlyNode(gateway));
        const path = `/v1/nodes/${encodeURIComponent(node)}/drain`;
        await gateway.send({ method: "POST", path, schema: drainedNodeSchema });
        const told =
          options.json === true
            ? JSON.stringify({ drained: node })
            : `${node} has handed its work over and takes no more; stop its process when you like`;
        await context.terminal.out(`${told}\n`);
        return EXIT.ok;
      }),
    );
}

async function onlyNode(gateway: Gateway): Promise<string> {
  const nodes = await gateway.list("/v1/nodes", nodeSchema, {}, MOST);
  const [only, ...others] = nodes;
  if (only !== undefined && others.length === 0) return only.id;
  const names = nodes.map(({ id }) => id).join(", ");
  throw new BerthError(
    "config.invalid",
    names === "" ? "no node is live" : `which node? There are ${names}`,
  );
}
