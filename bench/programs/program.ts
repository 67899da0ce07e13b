/** The side of the child: starts what the program is, answers commands, ends with the channel. */
import type { ChildMessage, ChildRequest } from "../child.ts";

export interface Program {
  /** Told to the parent; must be JSON. */
  readonly ready?: unknown;
  readonly commands?: Readonly<Record<string, (input: never) => Promise<unknown>>>;
  stop(): Promise<unknown>;
}

const STOP_MS = 20_000;

/** Runs `start` with the configuration that the parent gave. Never resolves: the process ends with the parent's wish. */
export async function runProgram(start: (config: never) => Promise<Program>): Promise<void> {
  // A terminal's Ctrl-C reaches us too; the parent stops us in its order.
  process.on("SIGINT", () => {});
  const gone = new Promise<void>((resolve) => process.once("disconnect", resolve));
  const program = await start(JSON.parse(process.argv[2] ?? "{}") as never);
  process.on("message", (request: ChildRequest) => void answer(program, request));
  say({ type: "ready", value: program.ready ?? null });
  await gone;
  setTimeout(() => process.exit(1), STOP_MS).unref();
  await program.stop();
  process.exit(0);
}

async function answer(program: Program, { command, input }: ChildRequest): Promise<void> {
  try {
    const run = program.commands?.[command];
    if (!run) throw new Error(`there is no command ${command}`);
    say({ type: "done", value: (await run(input as never)) ?? null });
  } catch (thrown) {
    say({ type: "failed", value: thrown instanceof Error ? thrown.message : String(thrown) });
  }
}

function say(message: ChildMessage): void {
  if (process.connected) process.send?.(message);
}
