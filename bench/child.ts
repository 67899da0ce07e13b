/**
 * Another process of the benchmark, with the channel that Node gives to a forked child.
 *
 * Invariants:
 * C1 The child ends when the channel does, so that none outlives us, however we end.
 * C2 Every wait for it has a bound.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { within } from "./load.ts";
import { programPath } from "./place.ts";
import type { Bench } from "./scenario.ts";

/** From the child: it is up, or it has done what it was asked. */
export interface ChildMessage {
  readonly type: "ready" | "done" | "failed";
  readonly value: unknown;
}

export interface ChildRequest {
  readonly command: string;
  readonly input: unknown;
}

export interface Child {
  /** What the program said when it was up. */
  readonly ready: unknown;
  /** One at a time; rejects after `timeoutMs` (default 60 s). */
  ask(command: string, input?: unknown, timeoutMs?: number): Promise<unknown>;
  /** SIGKILL, at once. */
  kill(): void;
  /** In order; it is stopped with the scenario anyway. */
  stop(): Promise<void>;
}

const START_MS = 90_000;
const STOP_MS = 30_000;
const ASK_MS = 60_000;

/** Starts `programs/<name>` and waits until it is up; it is stopped with the scenario. */
export async function startChild(bench: Bench, name: string, config: object): Promise<Child> {
  const { profile } = bench.options;
  const flags = profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profile}`];
  const child = fork(programPath(name), [JSON.stringify(config)], {
    execArgv: flags,
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  bench.undo(() => stop(child));
  const value = await within(START_MS, `the start of ${name}`, answerOf(child, name));
  return {
    ready: value,
    ask(command, input = null, timeoutMs = ASK_MS) {
      const answer = answerOf(child, name);
      child.send({ command, input } satisfies ChildRequest);
      return within(timeoutMs, `${command} of ${name}`, answer);
    },
    kill: () => void child.kill("SIGKILL"),
    stop: () => stop(child),
  };
}

function answerOf(child: ChildProcess, name: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => {
      child.off("message", onMessage);
      child.off("exit", onExit);
      act();
    };
    const onMessage = (message: ChildMessage) =>
      settle(() => {
        if (message.type === "failed") reject(new Error(`${name}: ${String(message.value)}`));
        else resolve(message.value);
      });
    const onExit = () => settle(() => reject(new Error(`${name} ended`)));
    child.on("message", onMessage);
    child.on("exit", onExit);
  });
}

/** C1, C2. */
async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  if (child.connected) child.disconnect();
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
  await gone;
  clearTimeout(timer);
}
