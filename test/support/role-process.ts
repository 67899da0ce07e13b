/** Nodes and gateways as processes of their own, from the built code, as in production. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "./eventually.ts";
import { freePort } from "./free-port.ts";
import {
  type OperatorNats,
  startNats,
  startOperatorNats,
  type TestNats,
  type TwoUsers,
} from "./nats.ts";

const PROGRAM = new URL("../../dist/deploy/main.js", import.meta.url).pathname;

export interface RoleProcess {
  readonly url: string;
  output(): string;
  /** SIGTERM; resolves with the exit code. */
  terminate(): Promise<number | null>;
  /** To this process alone: its workers go on. */
  signal(name: NodeJS.Signals): void;
}

export interface RoleProcesses extends AsyncDisposable {
  readonly nats: TestNats;
  /** Where the role of that name keeps what must survive. */
  dataDir(name: string): string;
  start(role: "node" | "gateway", name: string): Promise<RoleProcess>;
}

/**
 * On a nats-server with two users: one for roles and one that all workers share. `env` is what every role gets besides.
 */
export async function roleProcesses(
  env: Readonly<Record<string, string>> = {},
  users: TwoUsers = {},
): Promise<RoleProcesses> {
  return await processesOn(await startNats({ ...users, authorize: true }), () => env);
}

/** On a nats-server in operator mode; `env` says what each role gets besides. */
export async function operatorRoleProcesses(
  env: (role: "node" | "gateway", name: string, nats: OperatorNats) => Record<string, string>,
): Promise<RoleProcesses & { readonly nats: OperatorNats }> {
  const nats = await startOperatorNats();
  return { ...(await processesOn(nats, (role, name) => env(role, name, nats))), nats };
}

async function processesOn(
  nats: TestNats,
  env: (role: "node" | "gateway", name: string) => Readonly<Record<string, string>>,
): Promise<RoleProcesses> {
  const root = await mkdtemp(join(tmpdir(), "berth-roles-"));
  const dataDir = (name: string) => join(root, name);
  const children: ChildProcess[] = [];
  return {
    nats,
    dataDir,
    async start(role, name) {
      const child = spawn(process.execPath, [PROGRAM, role, "--nats", nats.url], {
        env: {
          PATH: process.env["PATH"] ?? "",
          BERTH_DATA: dataDir(name),
          BERTH_NODE_ID: name,
          BERTH_WORKER_NATS_URL: nats.workerUrl,
          BERTH_PORT: String(await freePort("gateway")),
          BERTH_METRICS_PORT: String(await freePort("metrics")),
          BERTH_NODE_PORT: String(await freePort("node")),
          BERTH_DRIVER: "process",
          BERTH_TIERS: JSON.stringify({ free: { minWorkers: 0, maxWorkers: 2 } }),
          BERTH_PARTITIONS: "8",
          // Workers outlive their nodes: those that the last one leaves behind must not stay for long.
          BERTH_ORPHAN_AFTER: "20s",
          ...env(role, name),
        },
        stdio: ["ignore", "pipe", "pipe"],
      });
      children.push(child);
      const running = follow(child);
      return { ...running, url: await readyUrl(child, running.output) };
    },
    async [Symbol.asyncDispose]() {
      for (const child of children) {
        if (child.exitCode !== null || child.signalCode !== null) continue;
        const gone = once(child, "exit");
        child.kill("SIGCONT");
        child.kill("SIGTERM");
        await gone;
      }
      await nats[Symbol.asyncDispose]();
      await rm(root, { recursive: true, force: true });
    },
  };
}

function follow(child: ChildProcess): Omit<RoleProcess, "url"> {
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
  }
  return {
    output: () => text,
    signal: (name) => void child.kill(name),
    async terminate() {
      const gone = once(child, "exit");
      child.kill("SIGTERM");
      await gone;
      return child.exitCode;
    },
  };
}

async function readyUrl(child: ChildProcess, output: () => string): Promise<string> {
  return await eventually(
    () => {
      if (child.exitCode !== null) throw new Error(`it ended: ${output()}`);
      return /ready (http:\S+)/.exec(output())?.[1] ?? false;
    },
    { within: 30_000, name: "the role is ready" },
  );
}
