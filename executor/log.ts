import type { Logger } from "../runtime/logger.ts";

/** pino's levels and fields, written by hand: loading it would make each worker start later. */
const LEVELS = { debug: 20, info: 30, warn: 40, error: 50 } as const;

/** One JSON object per line. Callers never pass secrets: orders and addresses are not logged. */
export function lineLogger(
  write: (line: string) => void,
  now: () => number,
  base: object = {},
): Logger {
  const at = (level: keyof typeof LEVELS) => (fields: object, message: string) => {
    write(
      `${JSON.stringify({ level: LEVELS[level], time: now(), ...base, ...fields, msg: message })}\n`,
    );
  };
  return {
    debug: () => {},
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    child: (fields) => lineLogger(write, now, { ...base, ...fields }),
  };
}
