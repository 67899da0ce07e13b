/**
 * How an attempt ended, from what is known of its end. Invariants:
 * O1 a program that fails while the kernel ends processes of its worker for want of memory has run out of memory, whichever
 *    of them it was; one that was cancelled, timed out or succeeds all the same has not.
 */
import { constants } from "node:os";
import { asBerthError, ERROR_TABLE, type WireError } from "../protocols/errors.ts";
import type { Outcome, Usage } from "../protocols/events.ts";
import { failureOf } from "./agents/agent.ts";
import type { MemoryReading } from "./memory-cgroup.ts";
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
  /** Set when the kernel ended a process of the worker meanwhile. */
  readonly outOfMemory: MemoryReading | undefined;
}): Outcome {
  const { end, ending, failure } = known;
  if (ending === "cancelled") return { state: "cancelled", processes_killed: end.killed };
  if (ending === "timed_out") return { state: "timed_out", limit_ms: known.limitMs };
  const usage = known.usage === undefined ? {} : { usage: known.usage };
  const exit_code = exitCodeOf(end);
  if (exit_code === 0 && failure === undefined) return { state: "succeeded", exit_code, ...usage };
  if (known.outOfMemory !== undefined)
    return { state: "failed", error: outOfMemory(known.outOfMemory), exit_code, ...usage };
  const exit = end.signal === null ? `exit code ${exit_code}` : `signal ${end.signal}`;
  const summary = { stderrTail: end.stderrTail, ...(failure === undefined ? {} : { failure }) };
  return { state: "failed", error: failureOf(known.agent, exit, summary), exit_code, ...usage };
}

const MIB = 1024 ** 2;

function outOfMemory({ limitBytes }: MemoryReading): WireError {
  const code = "job.out_of_memory";
  if (limitBytes === undefined) return { code, message: ERROR_TABLE[code].title };
  const limit = `${Math.round(limitBytes / MIB)} MiB`;
  return { code, message: `out of memory: the worker's limit is ${limit}` };
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
