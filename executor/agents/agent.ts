/** The port to an agent: how one job of it is run and how what it prints becomes events. */

import type { WireError } from "../../protocols/errors.ts";
import type { EventData, EventType, Usage } from "../../protocols/events.ts";
import type { JobOrder } from "../../protocols/executor.ts";

type AgentEventType = Extract<EventType, `agent.${string}`>;

/** What an agent said, of whichever form. */
export type AgentFact =
  | { readonly fact: "event"; readonly event: AgentEvent }
  /** The agent's own id of the conversation: given again to resume it. */
  | { readonly fact: "session"; readonly id: string }
  | { readonly fact: "usage"; readonly usage: Usage }
  /** The agent says itself that it failed, whatever its exit code will be. */
  | { readonly fact: "failure"; readonly message: string };

export type AgentEvent = {
  [T in AgentEventType]: { readonly type: T; readonly data: EventData<T> };
}[AgentEventType];

/** Reads one line of the agent's standard output; undefined means that it is not the agent's own language. */
export type LineParser = (line: string) => readonly AgentFact[] | undefined;

/** Where a job runs. */
export interface Place {
  /** The working directory: the same for every job of a kept workspace, because agents key their sessions by it. */
  readonly work: string;
  readonly home: string;
  readonly tmp: string;
  /** A container is around us: the agent may be trusted to run its tools unasked. */
  readonly isolated: boolean;
}

/** A process to start. */
export interface Launch {
  readonly command: string;
  readonly args: readonly string[];
  /** On top of the order's variables; they reach the agent alone. */
  readonly env: Readonly<Record<string, string>>;
  /** Text written to standard input, which then ends; or `open`, which takes a job's `input`. */
  readonly stdin: { readonly text: string } | "open";
  /** Written before the start: for what must not stand on a command line (its length is limited, and others can read it). */
  readonly files?: readonly {
    readonly path: string;
    readonly text: string;
    readonly mode: number;
  }[];
  /** None: output is passed on as it is. */
  readonly parser?: LineParser;
}

/** An agent that is a program. */
export interface ProgramAgent {
  readonly name: string;
  readonly kind: "program";
  /** Throws `agent.credential_missing`. Reads nothing but its arguments, so that it can be tested as data. */
  readonly launch: (order: JobOrder, place: Place) => Launch;
  /** Where, under its home, the agent keeps the conversation of that id; undefined when it resumes none. */
  readonly transcript?: (session: string) => TranscriptPlace;
}

export interface TranscriptPlace {
  /** Folder under the home that is searched, to a small depth. */
  readonly folder: string;
  /** How the file's name ends. */
  readonly suffix: string;
}

/** An agent that needs no process: its whole output at once. */
export interface InlineAgent {
  readonly name: string;
  readonly kind: "inline";
  readonly run: (order: JobOrder) => { readonly stdout: string };
}

export type Agent = ProgramAgent | InlineAgent;

/** What an agent program ended with, as far as its own words go. */
export interface AgentSummary {
  readonly usage?: Usage;
  readonly failure?: string;
  /** The last of what it wrote to standard error, for the message of a failure. */
  readonly stderrTail: string;
}

/** The error of a program that ended badly: its own words first, then its standard error, then the bare code. */
export function failureOf(agent: string, exit: string, summary: AgentSummary): WireError {
  const said = (summary.failure ?? summary.stderrTail).trim();
  const message =
    said === "" ? `${agent} ended with ${exit}` : `${agent} ended with ${exit}: ${said}`;
  return { code: "agent.failed", message: message.slice(0, 2_000) };
}
