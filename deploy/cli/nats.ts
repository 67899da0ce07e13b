/** `berth nats`: keys and credentials of our nats-server, on the machine of its data folder. */
import { Command } from "commander";
import { parseDuration } from "../../protocols/duration.ts";
import { action, type CliContext } from "./context.ts";
import { EXIT } from "./exit-codes.ts";
import type { Starters } from "./up.ts";

export function natsCommand(context: CliContext, starters: Starters): Command {
  const { terminal } = context;
  const creds = new Command("creds")
    .description("make the credential of a gateway and print its file")
    .argument("<name>", "names the gateway among others")
    .action(
      action(context, async (name: string) => {
        await terminal.out(await starters.gatewayCreds(name));
        return EXIT.ok;
      }),
    );
  const access = new Command("access")
    .description("print who may connect, for a nats-server that is configured by hand")
    .action(
      action(context, async () => {
        await terminal.out(await starters.brokerAccess());
        return EXIT.ok;
      }),
    );
  const rotate = new Command("rotate")
    .description("replace a signing key while everything runs")
    .argument("<key>", "operator, system, platform, gateway or issuer")
    .option("--wait <duration>", "from the new key's first use to the old one's end", "15s")
    .action(
      action(context, async (key: string, { wait }: { wait: string }) => {
        const print = (line: string) => void terminal.out(`${line}\n`);
        await starters.rotateKey({ key, waitMs: parseDuration(wait), print });
        return EXIT.ok;
      }),
    );
  return new Command("nats")
    .description("keys and credentials of our nats-server")
    .addCommand(access)
    .addCommand(creds)
    .addCommand(rotate);
}
