import { once } from "node:events";
import type { BerthError } from "../../protocols/errors.ts";
import type { CliContext } from "./context.ts";
import { EXIT } from "./exit-codes.ts";

/** A part of Berth that was started in this process. */
export interface Started {
  /** Resolves when it cannot go on; then the process ends with the error. */
  readonly failed?: Promise<BerthError>;
  stop(): Promise<void>;
}

/** One press of Ctrl-C comes twice under npm: from the terminal, and passed on by npm. Not meant as two. */
const SAME_PRESS_MS = 500;

/** Runs until the first SIGINT or SIGTERM, then stops gracefully; a second one leaves at once. */
export async function stayUp(
  context: CliContext,
  start: (print: (line: string) => void) => Promise<Started>,
): Promise<number> {
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
    const running = await start((line) => void terminal.out(`${line}\n`));
    const stopAsked = asked.signal.aborted
      ? Promise.resolve()
      : once(asked.signal, "abort").then(() => undefined);
    const failure = await Promise.race([stopAsked, ...(running.failed ? [running.failed] : [])]);
    await terminal.err(
      "Stopping: running jobs are handed over. Press Ctrl-C again to leave at once.\n",
    );
    await running.stop();
    if (failure) throw failure;
    await terminal.err("Stopped.\n");
    return EXIT.ok;
  } finally {
    release();
  }
}
