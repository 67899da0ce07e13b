/** A logger that says warnings and errors on stderr, one line each: what is kept of a process that failed. */
import { systemClock } from "../../runtime/clock.ts";
import type { Logger } from "../../runtime/logger.ts";

const say = (level: string) => (fields: object, message: string) => {
  const { err, ...rest } = fields as { readonly err?: unknown };
  const reason = err instanceof Error ? ` (${err.message})` : "";
  const time = new Date(systemClock.now()).toISOString().slice(14, 23);
  process.stderr.write(`${time} ${level} ${message}${reason} ${JSON.stringify(rest)}\n`);
};

export const spokenLogger: Logger = {
  debug() {},
  info: say("info"),
  warn: say("warn"),
  error: say("error"),
  child: () => spokenLogger,
};
