/** The lines that an agent prints and that the raw peer publishes: the same code on both sides. */
import { fileURLToPath } from "node:url";

export interface LineOrder {
  readonly lines: number;
  /** Absent: as fast as they are taken. */
  readonly perSecond?: number;
}

/** Where lines go. */
export interface LineSink {
  write(lines: readonly string[]): void;
  /** Resolves when more may follow. */
  drained(): Promise<void>;
}

const LINE_CHARS = 100;
/** Lines between two looks at whether the sink has taken them. */
const BATCH = 250;

/** Milliseconds since the epoch with fractions, comparable between processes of one machine. */
export const preciseNow = (): number => performance.timeOrigin + performance.now();

/** Begins with the time at which it was written, so that whoever reads it knows how long it was on its way. */
function makeLine(): string {
  return `${preciseNow().toFixed(3)} `.padEnd(LINE_CHARS, "x");
}

export const writtenAt = (line: string): number => Number.parseFloat(line);

export async function printLines(order: LineOrder, sink: LineSink): Promise<void> {
  const startedAt = performance.now();
  const batch = order.perSecond === undefined ? BATCH : 1;
  for (let printed = 0; printed < order.lines; printed += batch) {
    if (order.perSecond !== undefined) {
      const dueAt = startedAt + (printed * 1_000) / order.perSecond;
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, dueAt - performance.now())));
    }
    const size = Math.min(batch, order.lines - printed);
    sink.write(Array.from({ length: size }, makeLine));
    await sink.drained();
  }
}

/** A script for the `shell` agent that prints the lines. */
export function printingScript(order: LineOrder): string {
  const module = JSON.stringify(fileURLToPath(import.meta.url));
  return `#!${process.execPath}\nimport(${module}).then((m) => m.printToOutput(${JSON.stringify(order)}));\n`;
}

/** @public Called by the script above, in the agent's process. */
export function printToOutput(order: LineOrder): Promise<void> {
  return printLines(order, {
    write: (lines) => void process.stdout.write(`${lines.join("\n")}\n`),
    drained: () =>
      process.stdout.writableNeedDrain
        ? new Promise((resolve) => process.stdout.once("drain", resolve))
        : Promise.resolve(),
  });
}
