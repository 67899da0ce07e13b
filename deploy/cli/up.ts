import { once } from "node:events";
import { Command } from "commander";
import { action, type CliContext } from "./context.ts";
import { EXIT } from "./exit-codes.ts";

/** What `berth up` starts: everything, in this process. */
export type StartUp = (options: {
  readonly demo: boolean;
  readonly print: (line: string) => void;
}) => Promise<{ stop(): Promise<void> }>;

export function upCommand(context: CliContext, startUp: StartUp): Command {
  return new Command("up")
    .description("start nats-server, a node and a gateway on this machine, and stay up")
    .option("--no-demo", "do not run the first job")
    .action(action(context, ({ demo }: { demo: boolean }) => up(context, startUp, demo)));
}

/** One press of Ctrl-C comes twice under npm: from the terminal, and passed on by npm. Not meant as two. */
const SAME_PRESS_MS = 500;

/** Runs until the first SIGINT or SIGTERM, then stops gracefully; a second one leaves at once. */
async function up(context: CliContext, startUp: StartUp, demo: boolean): Promise<number> {
  const { clock, terminal } = context;
  const asked = new AbortController();
  let askedAt = 0;
  const release = context.onInterrupt(() => {
    if (!asked.signal.aborted) {
      askedAt = clock.monotonic();
      asked.abort();
    } else if (clock.monotonic() - askedAt > SAME_PRESS_MS) {
      context.exitNow(EXIT.interrupted);
    }
  });
  try {
    const running = await startUp({ demo, print: (line) => void terminal.out(`${line}\n`) });
    if (!asked.signal.aborted) await once(asked.signal, "abort");
    await terminal.err(
      "Stopping: running jobs are handed over. Press Ctrl-C again to leave at once.\n",
    );
    await running.stop();
    await terminal.err("Stopped.\n");
    return EXIT.ok;
  } finally {
    release();
  }
}
