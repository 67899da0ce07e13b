/** pino as the Logger port: JSON lines, secrets redacted, levels by configuration. */
import { pino } from "pino";
import type { Logger } from "../runtime/logger.ts";
import { traceFields } from "../runtime/tracing.ts";

/** Fields that may hold a secret, at any of the first levels. */
const SECRET_FIELDS = [
  "key",
  "token",
  "password",
  "secret",
  "authorization",
  "env",
  "credential",
  "prompt",
];
const REDACTED = SECRET_FIELDS.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]);
/** user:password in a URL. */
const URL_CREDENTIALS = /\/\/[^/@\s]+@/g;

export function createLogger(options: {
  readonly level: string;
  readonly destination: NodeJS.WritableStream;
  readonly fields: object;
  /** The trace in which a line is written, if any. */
  readonly traceparent?: () => string | undefined;
}): Logger {
  const { traceparent } = options;
  return pino(
    {
      level: options.level,
      base: options.fields,
      redact: { paths: REDACTED, censor: "[redacted]" },
      ...(traceparent ? { mixin: () => traceFields(traceparent()) } : {}),
      serializers: { err: describeError, error: describeError },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    options.destination,
  );
}

function describeError(error: unknown): object {
  if (!(error instanceof Error)) return { message: String(error) };
  const code: unknown = "code" in error ? error.code : undefined;
  return {
    ...(typeof code === "string" || typeof code === "number" ? { code } : {}),
    message: error.message.replaceAll(URL_CREDENTIALS, "//[redacted]@"),
    stack: error.stack?.replaceAll(URL_CREDENTIALS, "//[redacted]@"),
  };
}
