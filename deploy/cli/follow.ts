/** Prints a stream of events, for people or as JSON lines, until it ends or its reader goes. */
import type { SessionEvent } from "../../protocols/events.ts";
import { decidePrint, FRESH, type Print } from "./event-text.ts";
import { endOf, type JobEnd } from "./job-end.ts";
import type { Terminal } from "./terminal.ts";

export interface Followed {
  /** The last seq that was printed: where to go on. Undefined when none was. */
  readonly cursor: number | undefined;
  /** Of the job that was followed. */
  readonly end: JobEnd | undefined;
}

interface FollowOptions {
  readonly events: AsyncIterable<SessionEvent> | Iterable<SessionEvent>;
  readonly terminal: Terminal;
  readonly json: boolean;
  /** Stop at the end of this job. */
  readonly jobId?: string;
}

export async function follow(options: FollowOptions): Promise<Followed> {
  const { terminal, jobId } = options;
  const print = options.json ? jsonPrinter(terminal) : textPrinter(terminal);
  let cursor: number | undefined;
  for await (const event of options.events) {
    if (event.type !== "session.gap") cursor = event.seq;
    await print(event);
    const end = event.job_id === jobId ? endOf(event) : undefined;
    if (end !== undefined) return { cursor, end };
  }
  return { cursor, end: undefined };
}

type Printer = (event: SessionEvent) => Promise<void>;

function jsonPrinter(terminal: Terminal): Printer {
  return (event) => terminal.out(`${JSON.stringify(event)}\n`);
}

function textPrinter(terminal: Terminal): Printer {
  let progress = FRESH;
  return async (event) => {
    const decided = decidePrint(event, progress);
    progress = decided.progress;
    for (const piece of decided.prints) await printPiece(terminal, piece);
  };
}

function printPiece(terminal: Terminal, { to, text, tone }: Print): Promise<void> {
  if (to === "out") return terminal.out(text);
  return terminal.err(tone === undefined ? text : terminal.paint(tone, `· ${text}`));
}
