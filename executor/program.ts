/**
 * One agent program: started in a session of its own, read, fed, and ended with everything it started. Invariants:
 * G1 `ended` resolves only when no process of the run is left, also after an end that nobody asked for. In a container of
 *    our own that holds for processes too that nothing ties to the run any more (K1).
 * G2 whatever the program printed before its end has been handed on before `ended` resolves.
 */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { accessSync, constants, writeFileSync } from "node:fs";
import { delimiter, isAbsolute, join } from "node:path";
import { BerthError } from "../protocols/errors.ts";
import type { Clock } from "../runtime/clock.ts";
import type { AgentFact, Launch } from "./agents/agent.ts";
import type { Premises } from "./container.ts";
import { OutputBudget } from "./output-budget.ts";
import { readOutput } from "./output-stream.ts";
import { letWait, startFirstToGo } from "./precedence.ts";
import { markerOf, ProcessTree, type TreeUse } from "./process-tree.ts";

export interface ProgramOptions {
  readonly agent: string;
  readonly launch: Launch;
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** What tells the processes of this run from all others. */
  readonly run: readonly (string | number)[];
  readonly outputLimitBytes: number;
  readonly graceMs: number;
  readonly clock: Clock;
  readonly onFact: (fact: AgentFact) => void;
  /** Undefined: others live beside us. */
  readonly container: Premises | undefined;
}

export interface ProgramEnd {
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly stderrTail: string;
  /** Processes that had to be killed. */
  readonly killed: number;
}

/** With every writer gone a stream ends once it is read; this much later it is held open by a stranger. */
const DRAIN_MS = 2_000;
/** What a program left running has had its time. */
const LEFTOVER_GRACE_MS = 500;
const STDERR_TAIL_UNITS = 2_000;

export class Program {
  readonly pid: number;
  readonly ended: Promise<ProgramEnd>;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #tree: ProcessTree;
  readonly #options: ProgramOptions;
  #killing: Promise<number> | undefined;
  #stderrTail = "";

  private constructor(
    child: ChildProcessWithoutNullStreams,
    tree: ProcessTree,
    options: ProgramOptions,
  ) {
    this.#child = child;
    this.#options = options;
    this.pid = child.pid ?? 0;
    this.#tree = tree;
    this.ended = this.#end(this.#read());
  }

  /** Rejects with `agent.unavailable` when there is no such program. */
  static async start(options: ProgramOptions): Promise<Program> {
    const { launch, env, cwd, agent } = options;
    for (const file of launch.files ?? []) writeFileSync(file.path, file.text, { mode: file.mode });
    const command = findCommand(launch.command, env["PATH"] ?? "");
    if (command === undefined) {
      throw new BerthError(
        "agent.unavailable",
        `"${launch.command}", which agent ${agent} runs, is not installed`,
      );
    }
    const child = startFirstToGo(() =>
      spawn(command, launch.args, { cwd, env, stdio: "pipe", detached: true }),
    );
    child.stdin.on("error", () => {});
    const tree = treeOf(child, options);
    await new Promise<void>((resolve, reject) => {
      child.once("spawn", resolve);
      child.once("error", (cause) => {
        reject(
          new BerthError(
            "agent.unavailable",
            `Agent ${agent} could not be started: ${cause.message}`,
            { cause },
          ),
        );
      });
    });
    if (tree === undefined) throw new BerthError("agent.unavailable");
    // The process has its environment; nothing else needs it (A4).
    const rest = { ...options, env: {}, launch: { ...launch, env: {} } };
    const program = new Program(child, tree, rest);
    if (launch.stdin !== "open") child.stdin.end(launch.stdin.text);
    return program;
  }

  /** False from its own end on, while what it left is still being killed. */
  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Ends it all: SIGTERM, the grace, SIGKILL. `ended` tells when it is done. */
  kill(): void {
    this.#killing ??= this.#endTree(this.#options.graceMs);
    this.#killing.catch(() => {});
    this.pause(false);
  }

  pause(isPaused: boolean): void {
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      if (isPaused && this.#killing === undefined) stream.pause();
      else stream.resume();
    }
  }

  /** Text for standard input; a single Ctrl-D ends it. False when it takes none. */
  input(text: string): boolean {
    if (this.#options.launch.stdin !== "open" || !this.#child.stdin.writable) return false;
    if (text === "\u0004") this.#child.stdin.end();
    else this.#child.stdin.write(text);
    return true;
  }

  use(): TreeUse {
    return this.#tree.use();
  }

  #read(): Promise<unknown> {
    const { launch, outputLimitBytes, clock, onFact } = this.#options;
    const budget = new OutputBudget(outputLimitBytes);
    const { stdout, stderr } = this.#child;
    stderr.on("data", (chunk: Buffer) => {
      this.#stderrTail = (this.#stderrTail + chunk.toString("utf8")).slice(-STDERR_TAIL_UNITS);
    });
    return Promise.all([
      readOutput({
        stream: "stdout",
        source: stdout,
        parser: launch.parser,
        budget,
        clock,
        onFact,
      }),
      readOutput({ stream: "stderr", source: stderr, parser: undefined, budget, clock, onFact }),
    ]);
  }

  #endTree(graceMs: number): Promise<number> {
    return this.#tree.kill(graceMs, () => this.#options.container?.killAll(this.#tree));
  }

  async #end(drained: Promise<unknown>): Promise<ProgramEnd> {
    const child = this.#child;
    const exit = await new Promise<{ exitCode: number | null; signal: string | null }>(
      (resolve) => {
        child.once("exit", (exitCode, signal) => resolve({ exitCode, signal }));
      },
    );
    const graceMs = Math.min(this.#options.graceMs, LEFTOVER_GRACE_MS);
    const members = await (this.#killing ?? this.#endTree(graceMs));
    const strays = (await this.#options.container?.release(this.#tree)) ?? 0;
    const cut = new AbortController();
    void this.#cutIdle(cut.signal);
    await drained;
    cut.abort();
    return { ...exit, killed: members + strays, stderrTail: this.#stderrTail };
  }

  /**
   * Nobody is left who could write: a pipe that is still open is open somewhere we cannot see. One that is
   * paused is only waiting for us (G2).
   */
  async #cutIdle(done: AbortSignal): Promise<void> {
    while (!done.aborted) {
      await this.#options.clock.sleep(DRAIN_MS, done);
      if (done.aborted) return;
      for (const stream of [this.#child.stdout, this.#child.stderr])
        if (!stream.isPaused()) stream.destroy();
    }
  }
}

/** Undefined for a process that could not be made. Called before anything else can happen: nobody may take it for a stray. */
function treeOf(
  { pid }: ChildProcessWithoutNullStreams,
  { run, clock, container }: ProgramOptions,
): ProcessTree | undefined {
  if (pid === undefined) return undefined;
  const tree = new ProcessTree({ root: pid, marker: markerOf(...run), clock });
  if (container !== undefined) {
    container.hold(tree);
    letWait(pid);
  }
  return tree;
}

function findCommand(command: string, path: string): string | undefined {
  const candidates = isAbsolute(command)
    ? [command]
    : path.split(delimiter).map((folder) => join(folder, command));
  return candidates.find((candidate) => {
    try {
      accessSync(candidate, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
