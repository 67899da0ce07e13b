import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { choosePort } from "../../../deploy/ports.ts";
import { formatIdentity, WAITS_FOR_IDENTITY } from "../../../executor/identity.ts";
import type { WorkerIdentity } from "../../../protocols/executor.ts";
import { eventually } from "../../support/eventually.ts";
import { type Broker, NodeDouble, orderOf, startBroker } from "../../support/executor-rig.ts";
import { WORKER_COMMAND } from "../../support/process-driver-rig.ts";

let broker: Broker;
let node: NodeDouble;

beforeAll(async () => {
  broker = await startBroker();
  node = await NodeDouble.open(broker);
});
afterAll(async () => {
  await node[Symbol.asyncDispose]();
  await broker[Symbol.asyncDispose]();
});

interface NamelessWorker extends AsyncDisposable {
  readonly child: ChildProcess;
  output(): string;
  tell(text: string): void;
  exitCode(): Promise<number | null>;
}

/** Resolves when the worker waits to be told who it is. */
async function startNameless(env: Record<string, string> = {}): Promise<NamelessWorker> {
  const root = await mkdtemp(join(tmpdir(), "berth-nameless-"));
  const [program, ...args] = WORKER_COMMAND;
  const child = spawn(program, args, {
    env: {
      PATH: process.env["PATH"] ?? "",
      BERTH_IDENTITY: "stdin",
      BERTH_WORKSPACE: root,
      BERTH_WORKER: "wrk-of-the-environment",
      BERTH_SLOTS: "9",
      ...env,
    },
  });
  const exited = once(child, "exit");
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
  await eventually(() => output === `${WAITS_FOR_IDENTITY}\n`, { within: 20_000, name: "waiting" });
  return {
    child,
    output: () => output,
    tell: (text) => void child.stdin.write(text),
    exitCode: async () => ((await exited) as [number | null])[0],
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exited;
      await rm(root, { recursive: true, force: true });
    },
  };
}

let count = 0;
const identity = (): WorkerIdentity => ({
  worker: `wrk-told-${process.pid}-${++count}`,
  nats_url: broker.workerUrl,
  partitions: 64,
  slots: 1,
  tier: "free",
  workspace_mode: "job",
});

describe("a worker that is told who it is on standard input", () => {
  it("becomes what the line says, whatever its environment says, in however many pieces it comes", async () => {
    await using worker = await startNameless();
    const told = identity();
    const line = formatIdentity(told);
    worker.tell(line.slice(0, 20));
    worker.tell(line.slice(20, 50));
    worker.tell(`${line.slice(50)}and more`);
    await eventually(() => node.hellos.has(told.worker), { name: "hello" });
    expect([...node.hellos]).not.toContain("wrk-of-the-environment");
    await node.tell(told.worker, { type: "run", order: orderOf("shell", "sleep 1000") });
    expect(
      await node.tell(told.worker, { type: "run", order: orderOf("shell", "true") }),
    ).toMatchObject({ ok: false, error: { code: "worker.busy" } });
  });

  it("shows its credential to no job: not by its environment, its command, its standard input or what it wrote", async () => {
    await using worker = await startNameless();
    const told = identity();
    worker.tell(formatIdentity(told));
    await eventually(() => node.hellos.has(told.worker), { name: "hello" });
    const script = `cd /proc/${worker.child.pid}; cat environ cmdline; timeout 1 cat fd/0; env`;
    const log = await node.run(told.worker, orderOf("shell", script));
    expect(log.text()).toContain("BERTH_IDENTITY=stdin");
    expect(log.text() + worker.output()).not.toContain(new URL(broker.workerUrl).password);
  });

  it("waits through a pause, and judges no silence by the time that it was nobody", async () => {
    const orphanAfterMs = 3_000;
    await using worker = await startNameless({ BERTH_ORPHAN_AFTER_MS: String(orphanAfterMs) });
    const since = performance.now();
    worker.child.kill("SIGSTOP");
    await eventually(() => stateOf(worker.child.pid) === "T", { name: "stopped" });
    const isLong = () => performance.now() - since > orphanAfterMs;
    await eventually(isLong, {
      within: 2 * orphanAfterMs,
      name: "nobody for longer than an orphan",
    });
    node.isSilent = true;
    const told = identity();
    worker.tell(formatIdentity(told));
    worker.child.kill("SIGCONT");
    await eventually(() => node.asked.has(told.worker), { name: "hello without an answer" });
    node.isSilent = false;
    await eventually(() => node.hellos.has(told.worker), { name: "hello" });
  });

  it.each([
    ["ends without a line", "{}", "ended before the worker's identity"],
    ["holds no identity", "{}\n", "needs worker"],
    ["never ends its line", "x".repeat(100_000), "no line"],
  ])("fails when the input %s", async (_name, text, reason) => {
    await using worker = await startNameless();
    worker.child.stdin?.end(text);
    expect(await worker.exitCode()).toBe(1);
    expect(worker.output()).toContain(reason);
  });

  it("ends as asked while it is nobody", async () => {
    await using worker = await startNameless();
    worker.child.kill("SIGTERM");
    expect(await worker.exitCode()).toBe(0);
  });

  it("answers probes at once, and is ready when a host knows it, not before", async () => {
    const port = await choosePort({ name: "h", host: "127.0.0.1", port: 0, isExplicit: false });
    const statusesOf = (...paths: string[]) =>
      Promise.all(
        paths.map(async (path) => (await fetch(`http://127.0.0.1:${port}${path}`)).status),
      );
    await using worker = await startNameless({ BERTH_HEALTH_PORT: String(port) });
    const probes = ["/livez", "/health", "/readyz", "/ready", "/nothing"];
    expect(await statusesOf(...probes)).toEqual([200, 200, 503, 503, 404]);
    node.isSilent = true;
    const told = identity();
    worker.tell(formatIdentity(told));
    await eventually(() => node.asked.has(told.worker), { name: "it says hello" });
    expect(await statusesOf(...probes)).toEqual([200, 200, 503, 503, 404]);
    node.isSilent = false;
    await eventually(async () => (await statusesOf("/readyz"))[0] === 200, { name: "ready" });
    expect(await statusesOf(...probes)).toEqual([200, 200, 200, 200, 404]);
  });
});

function stateOf(pid: number | undefined): string | undefined {
  return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.[0];
}
