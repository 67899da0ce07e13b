import { Command } from "commander";
import type { Commands } from "../backup/commands.ts";
import { action, type CliContext } from "./context.ts";
import { type Started, stayUp } from "./stay-up.ts";

/** What the commands that serve start, each in this process. */
export interface Starters {
  /** nats-server, a node and a gateway. */
  up(options: { readonly demo: boolean; readonly print: Print }): Promise<Started>;
  node(options: {
    readonly nats: string | undefined;
    readonly endWorkers: boolean;
    readonly print: Print;
  }): Promise<Started>;
  gateway(options: { readonly nats: string | undefined; readonly print: Print }): Promise<Started>;
  /** Makes a key for an operator, and returns it. */
  operatorKey(options: {
    readonly nats: string | undefined;
    readonly name: string;
  }): Promise<string>;
  /** Replaces a key of our nats-server. */
  rotateKey(options: {
    readonly key: string;
    readonly waitMs: number;
    readonly print: Print;
  }): Promise<void>;
  /** Makes a gateway's credential of the broker, and returns its file. */
  gatewayCreds(name: string): Promise<string>;
  /** The lines of operator mode and of TLS, for a nats-server's configuration. */
  brokerAccess(): Promise<string>;
  backup(): Promise<Commands>;
}
type Print = (line: string) => void;

export function upCommand(context: CliContext, starters: Starters): Command {
  return new Command("up")
    .description("start nats-server, a node and a gateway on this machine, and stay up")
    .option("--no-demo", "do not run the first job")
    .action(
      action(context, ({ demo }: { demo: boolean }) =>
        stayUp(context, (print) => starters.up({ demo, print })),
      ),
    );
}
