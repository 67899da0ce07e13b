/** The `berth` command: gives the command line its process, and leaves with its exit code. */
import { text } from "node:stream/consumers";
import { systemClock } from "../runtime/clock.ts";
import type { CliContext } from "./cli/context.ts";
import { runCli } from "./cli/program.ts";
import { askSecret } from "./cli/secret-input.ts";
import { openTerminal } from "./cli/terminal.ts";
import type { Starters } from "./cli/up.ts";
import { type Config, clientEnvironment, loadConfig } from "./config.ts";
import { version } from "./version.ts";

const { stdin, stdout, stderr } = process;
const environment = clientEnvironment();

/** A reader that goes, such as `head`, ends us quietly. */
for (const stream of [stdout, stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) =>
    process.exit(error.code === "EPIPE" ? 0 : 1),
  );
}

const context: CliContext = {
  terminal: openTerminal({
    stdout,
    stderr,
    color: stdout.isTTY && !environment.noColor,
    isInteractive: stdout.isTTY,
    width: stdout.isTTY ? stdout.columns : undefined,
  }),
  clock: systemClock,
  environment,
  cwd: process.cwd(),
  version,
  readStdin: () => text(stdin),
  readSecret: (prompt) => (stdin.isTTY ? askSecret({ stdin, stderr, prompt }) : text(stdin)),
  onInterrupt(fn) {
    process.on("SIGINT", fn);
    process.on("SIGTERM", fn);
    return () => {
      process.off("SIGINT", fn);
      process.off("SIGTERM", fn);
    };
  },
  setExitCode(code) {
    process.exitCode = code;
  },
  exitNow: (code) => process.exit(code),
};

const configWith = (nats: string | undefined): Config =>
  loadConfig(undefined, nats === undefined ? {} : { BERTH_NATS_URL: nats });

/** Loaded when they are wanted: a client command needs nothing of them. */
const starters: Starters = {
  up: async (options) => (await import("./up.ts")).startUp(loadConfig(), options),
  node: async ({ nats, ...options }) =>
    (await import("./single-roles.ts")).startNodeProcess(configWith(nats), options),
  gateway: async ({ nats, ...options }) =>
    (await import("./single-roles.ts")).startGatewayProcess(configWith(nats), options),
  operatorKey: async ({ nats, name }) =>
    (await import("./single-roles.ts")).makeOperatorKey(configWith(nats), {
      name,
      print: (line) => void context.terminal.err(`${line}\n`),
    }),
  rotateKey: async (options) =>
    (await import("./nats/auth/keyholder.ts")).rotateKey(loadConfig(), options),
  gatewayCreds: async (name) =>
    (await import("./nats/auth/keyholder.ts")).makeGatewayCreds(loadConfig(), name),
  brokerAccess: async () => (await import("./nats/access.ts")).accessText(loadConfig()),
  backup: async () => (await import("./backup/commands.ts")).backupCommands(loadConfig()),
};

await runCli(process.argv.slice(2), context, starters);
// Sockets kept open for another request are no reason to stay.
process.exit();
