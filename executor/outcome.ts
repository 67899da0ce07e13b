/** How an attempt ended, from what is known of its end. */
import { constants } from "node:os";
import { asBerthError } from "../protocols/errors.ts";
import type { Outcome, Usage } from "../protocols/events.ts";
import { failureOf } from "./agents/agent.ts";
import type { ProgramEnd } from "./program.ts";

/** Why the program was ended, when it did not end by itself. */
export type Ending = "cancelled" | "timed_out";

export function decideOutcome(known: {
  readonly agent: string;
  readonly end: ProgramEnd;
  readonly ending: Ending | undefined;
  readonly limitMs: number;
  readonly usage: Usage | undefined;
  readonly failure: string | undefined;
}): Outcome {
  const { end, ending, failure } = known;
  if (ending === "cancelled") return { state: "cancelled", processes_killed: end.killed };
  if (ending === "timed_out") return { state: "timed_out", limit_ms: known.limitMs };
  const usage = known.usage === undefined ? {} : { usage: known.usage };
  const exit_code = exitCodeOf(end);
  if (exit_code === 0 && failure === undefined) return { state: "succeeded", exit_code, ...usage };
  const exit = end.signal === null ? `exit code ${exit_code}` : `signal ${end.signal}`;
  const summary = { stderrTail: end.stderrTail, ...(failure === undefined ? {} : { failure }) };
  return { state: "failed", error: failureOf(known.agent, exit, summary), exit_code, ...usage };
}

/** A signal counts as shells count it: 128 and its number. */
function exitCodeOf({ exitCode, signal }: ProgramEnd): number {
  if (exitCode !== null) return exitCode;
  const number = Object.entries(constants.signals).find(([name]) => name === signal)?.[1] ?? 0;
  return 128 + number;
}

/** The attempt never got as far as a running program. */
export function failedToStart(thrown: unknown): Outcome {
  return { state: "failed", error: asBerthError(thrown).toWire() };
}
