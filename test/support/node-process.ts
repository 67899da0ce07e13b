/** Nodes of the runtime as processes of their own on one nats-server, as on several hosts. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { eventually } from "./eventually.ts";

const PROGRAM = fileURLToPath(new URL("programs/runtime-node.ts", import.meta.url));
const ROOT = fileURLToPath(new URL("../../", import.meta.url));

export interface NodeSettings {
  readonly url: string;
  readonly id: string;
  readonly partitions?: number;
  readonly replicas?: number;
  readonly version?: string;
  /** Is a build that adds fields to all that it says and stores, and finds such in all that it hears and reads. */
  readonly isSkewed?: boolean;
  /**
   * A turn of an actor whose key begins with "stalled" says so, and keeps the whole process that long before its commit.
   * Whatever the process would hear in that time it hears after the commit is on its way.
   */
  readonly stallMs?: number;
}

export interface NodeProcess extends AsyncDisposable {
  readonly id: string;
  readonly pid: number;
  /** The exit code; null while it runs or when a signal ended it. */
  readonly exitCode: number | null;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
  /** Resolves when its output holds the text. */
  said(text: string): Promise<void>;
  pause(): void;
  resume(): void;
  /** SIGTERM; resolves with the exit code. */
  terminate(): Promise<number | null>;
  /** Resolves with the exit code of a process that ends by itself. */
  ended(): Promise<number | null>;
}

/** Resolves when the node hosts its share. Everything but its settings has the product's defaults. */
export async function startNodeProcess(settings: NodeSettings): Promise<NodeProcess> {
  const child = spawn(process.execPath, ["--import", "tsx", PROGRAM, JSON.stringify(settings)], {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
  }
  const gone = once(child, "exit");
  await eventually(
    () => {
      if (hasEnded(child)) throw new Error(`the node ended: ${text}`);
      return text.includes('"ready"');
    },
    { within: 60_000, name: `${settings.id} is ready` },
  );
  const end = async (signal: NodeJS.Signals) => {
    if (!hasEnded(child)) child.kill(signal);
    await gone;
  };
  return {
    id: settings.id,
    pid: child.pid ?? 0,
    get exitCode() {
      return child.exitCode;
    },
    kill: () => end("SIGKILL"),
    async said(said) {
      await eventually(() => text.includes(said), { within: 20_000, name: `it says ${said}` });
    },
    pause: () => void child.kill("SIGSTOP"),
    resume: () => void child.kill("SIGCONT"),
    async terminate() {
      await end("SIGTERM");
      return child.exitCode;
    },
    async ended() {
      await gone;
      return child.exitCode;
    },
    [Symbol.asyncDispose]: () => end("SIGKILL"),
  };
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}
