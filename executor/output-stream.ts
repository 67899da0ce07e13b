/**
 * One output stream of a program, read as it comes, made into facts. Invariants:
 * S1 everything is read to the end, whatever is done with it: a program never hangs because its output was dropped.
 * S2 what is passed on never exceeds the job's budget; what is over is counted and said once.
 */
import type { Readable } from "node:stream";
import type { Clock } from "../runtime/clock.ts";
import type { AgentFact, LineParser } from "./agents/agent.ts";
import { type Line, LineSplitter } from "./line-splitter.ts";
import type { OutputBudget } from "./output-budget.ts";
import { OutputDecoder, type Piece } from "./output-decoder.ts";

/** How long a line without its end is kept back: a prompt must show, a line in two writes should be one event. */
const PARTIAL_LINE_MS = 15;

export interface OutputStreamOptions {
  readonly stream: "stdout" | "stderr";
  readonly source: Readable;
  readonly parser: LineParser | undefined;
  readonly budget: OutputBudget;
  readonly clock: Clock;
  readonly onFact: (fact: AgentFact) => void;
}

/** Starts reading; the promise resolves at the stream's end, also when it was destroyed. */
export function readOutput(options: OutputStreamOptions): Promise<void> {
  const reader =
    options.parser === undefined ? textReader(options) : jsonReader(options, options.parser);
  return new Promise((resolve) => {
    options.source.on("data", reader.write);
    options.source.on("error", () => {});
    options.source.once("close", () => {
      reader.end();
      resolve();
    });
  });
}

interface Reader {
  readonly write: (chunk: Buffer) => void;
  readonly end: () => void;
}

function textReader({ stream, budget, clock, onFact }: OutputStreamOptions): Reader {
  const decoder = new OutputDecoder();
  const emit = (pieces: readonly Piece[]) => {
    for (const piece of pieces) for (const fact of budget.output(stream, piece)) onFact(fact);
  };
  let cancel: (() => void) | undefined;
  return {
    write(chunk) {
      emit(decoder.write(chunk));
      if (!decoder.hasTail || cancel !== undefined) return;
      cancel = clock.after(PARTIAL_LINE_MS, () => {
        cancel = undefined;
        emit(decoder.flush(false));
      });
    },
    end() {
      cancel?.();
      emit(decoder.flush(true));
    },
  };
}

/** Lines in the agent's language become its facts; a stray line is output like any other. */
function jsonReader(options: OutputStreamOptions, parser: LineParser): Reader {
  const splitter = new LineSplitter();
  const emit = (lines: readonly Line[]) => {
    for (const fact of lines.flatMap((line) => lineFacts(options, parser, line)))
      options.onFact(fact);
  };
  return { write: (chunk) => emit(splitter.write(chunk)), end: () => emit(splitter.end()) };
}

function lineFacts(
  { stream, budget }: OutputStreamOptions,
  parser: LineParser,
  line: Line,
): AgentFact[] {
  const facts = parser(line.bytes.toString("utf8").trim());
  if (facts !== undefined) return facts.flatMap((fact) => budget.fact(fact));
  return stray(line.bytes, line.offset).flatMap((piece) => budget.output(stream, piece));
}

function stray(bytes: Buffer, offset: number): Piece[] {
  const decoder = new OutputDecoder();
  const pieces = [...decoder.write(bytes), ...decoder.flush(true)];
  return pieces.map((piece) => ({ ...piece, offset: piece.offset + offset }));
}
