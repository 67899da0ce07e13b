/** The `berth` command: gives the command line its process, and leaves with its exit code. */
import { text } from "node:stream/consumers";
import { systemClock } from "../runtime/clock.ts";
import type { CliContext } from "./cli/context.ts";
import { runCli } from "./cli/program.ts";
import { openTerminal } from "./cli/terminal.ts";
import type { StartUp } from "./cli/up.ts";
import { clientEnvironment, loadConfig } from "./config.ts";
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

/** Loaded when it is wanted: a client command needs nothing of it. */
const startUp: StartUp = async (options) => {
  const up = await import("./up.ts");
  return up.startUp(loadConfig(), options);
};

await runCli(process.argv.slice(2), context, startUp);
// Sockets kept open for another request are no reason to stay.
process.exit();
