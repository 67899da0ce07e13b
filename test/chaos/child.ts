/**
 * A process of a chaos run.
 *
 * Invariants:
 * C1 It ends when the channel to us does, so that none outlives us, however we end.
 * C2 Every wait for it has a bound.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { systemClock } from "../../runtime/clock.ts";
import type { ChildMessage, Command } from "./programs/program.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
/** A node waits for the broker, which may be in an election while other faults go on. */
const START_MS = 120_000;
const KEPT_CHARS = 4_000;
const BYTES_PER_KIB = 1_024;

export class Child {
  readonly name: string;
  readonly #process: ChildProcess;
  readonly #exited: Promise<unknown>;
  #said = "";

  /** `program` is the name of a file in `programs/`. */
  constructor(
    name: string,
    program: string,
    config: object,
    onProgress: (value: unknown) => void = () => {},
  ) {
    this.name = name;
    const path = fileURLToPath(new URL(`programs/${program}.ts`, import.meta.url));
    this.#process = spawn(process.execPath, ["--import", "tsx", path, JSON.stringify(config)], {
      cwd: ROOT,
      stdio: ["ignore", "pipe", "pipe", "ipc"],
      // Infinity has no JSON.
      serialization: "advanced",
    });
    this.#exited = once(this.#process, "exit");
    for (const stream of [this.#process.stdout, this.#process.stderr])
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.#said = (this.#said + text).slice(-KEPT_CHARS);
      });
    this.#process.on("message", (message: ChildMessage) => {
      if (message.type === "progress") onProgress(message.value);
    });
    this.#process.on("error", () => {});
  }

  get pid(): number | undefined {
    return this.isOver ? undefined : this.#process.pid;
  }

  get isOver(): boolean {
    return this.#process.exitCode !== null || this.#process.signalCode !== null;
  }

  /** What it said last on its outputs. */
  get said(): string {
    return this.#said;
  }

  /** Resolves when it says so; rejects when it ends before. */
  ready(): Promise<unknown> {
    return this.#answer(START_MS, "ready");
  }

  ask(command: string, withinMs: number): Promise<unknown> {
    const answer = this.#answer(withinMs, "done");
    this.#process.send({ command } satisfies Command);
    return answer;
  }

  signal(signal: NodeJS.Signals): void {
    if (!this.isOver) this.#process.kill(signal);
  }

  /** SIGKILL after `withinMs`. */
  async end(signal: NodeJS.Signals, withinMs = 0): Promise<void> {
    if (this.isOver) return;
    this.signal(signal);
    const cancel = systemClock.after(withinMs, () => this.signal("SIGKILL"));
    await this.#exited;
    cancel();
  }

  /** Memory in bytes; undefined where the system does not say. */
  rss(): number | undefined {
    try {
      const status = readFileSync(`/proc/${this.pid}/status`, "utf8");
      return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * BYTES_PER_KIB;
    } catch {
      return undefined;
    }
  }

  /** C2. */
  #answer(withinMs: number, type: "ready" | "done"): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const settle = (act: () => void) => {
        cancel();
        this.#process.off("message", onMessage);
        this.#process.off("exit", onExit);
        act();
      };
      const fail = (why: string) =>
        settle(() => reject(new Error(`${this.name} ${why}: ${this.#said}`)));
      const onMessage = (message: ChildMessage) => {
        if (message.type === "failed") fail(`failed (${message.value})`);
        else if (message.type === type)
          settle(() => resolve(message.type === "done" ? message.value : undefined));
      };
      const onExit = () => fail("ended");
      const cancel = systemClock.after(withinMs, () => fail(`did not answer in ${withinMs} ms`));
      this.#process.on("message", onMessage);
      this.#process.on("exit", onExit);
    });
  }
}
