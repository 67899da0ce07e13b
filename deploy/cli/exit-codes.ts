import type { BerthError } from "../../protocols/errors.ts";
import type { TerminalState } from "../../protocols/job.ts";

/** What scripts may rely on. `berth run` passes a failed job's own exit code on, when it has one. */
export const EXIT = {
  ok: 0,
  jobFailed: 1,
  usage: 2,
  auth: 3,
  notFound: 4,
  quota: 5,
  transient: 6,
  timeout: 124,
  interrupted: 130,
} as const;

const BY_STATUS: Readonly<Record<number, number>> = {
  401: EXIT.auth,
  403: EXIT.auth,
  404: EXIT.notFound,
  410: EXIT.notFound,
  423: EXIT.auth,
};

/** The exit code that an error of the API, or of ours, becomes. */
export function exitCodeOfError(error: BerthError): number {
  if (error.code.startsWith("quota.") || error.code === "request.rate_limited") return EXIT.quota;
  if (error.code === "job.timed_out") return EXIT.timeout;
  if (error.code === "config.invalid") return EXIT.usage;
  if (error.code === "internal.unexpected") return EXIT.jobFailed;
  const known = BY_STATUS[error.status];
  if (known !== undefined) return known;
  if (error.retry !== "never") return EXIT.transient;
  return error.status < 500 ? EXIT.usage : EXIT.jobFailed;
}

/** The exit code of a job that ended: its own where it has one. */
export function exitCodeOfJob(state: TerminalState, exitCode: number | null): number {
  if (state === "succeeded") return EXIT.ok;
  if (state === "timed_out") return EXIT.timeout;
  if (state === "cancelled" || state === "interrupted") return EXIT.interrupted;
  return exitCode !== null && exitCode > 0 && exitCode < 256 ? exitCode : EXIT.jobFailed;
}
