import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "@nats-io/transport-node";
import { pack, unpack } from "msgpackr";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startDriverHost } from "../../../executor/driver-host.ts";
import type { WorkerExit } from "../../../executor/drivers/driver.ts";
import { ProcessDriver } from "../../../executor/drivers/process.ts";
import { serversOf } from "../../../executor/link.ts";
import { readProcess } from "../../../executor/process-table.ts";
import type { DriverReply, DriverVerb } from "../../../protocols/driver.ts";
import type { WorkerSpec } from "../../../protocols/executor.ts";
import { subjects } from "../../../protocols/subjects.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { natsBus } from "../../../runtime/nats/bus.ts";
import { QuorumWatch } from "../../../runtime/nats/quorum-watch.ts";
import { Requests } from "../../../runtime/nats/requests.ts";
import { Sender } from "../../../runtime/nats/sender.ts";
import { eventually } from "../../support/eventually.ts";
import { type Broker, NodeDouble, orderOf, startBroker } from "../../support/executor-rig.ts";
import { pidOf, WORKER_COMMAND } from "../../support/process-driver-rig.ts";

let broker: Broker;
let dataDir: string;
let count = 0;

beforeEach(async () => {
  broker = await startBroker();
  dataDir = await mkdtemp(join(tmpdir(), "berth-host-"));
});
afterEach(async () => {
  await broker[Symbol.asyncDispose]();
  await rm(dataDir, { recursive: true, force: true });
});

const specOf = (): WorkerSpec => ({
  worker: `wrk-host-${process.pid}-${++count}`,
  tenant: "acme",
  tier: "pro",
  slots: 1,
  workspace: "user",
  workspace_key: "ann",
  cpus: 1,
  memory_bytes: 1,
  storage_bytes: 1,
  processes: 64,
  network: "user",
  internet: false,
});

interface HostOptions {
  readonly command?: readonly [string, ...string[]];
  readonly silentAfterMs?: number;
  readonly helloWithinMs?: number;
}

async function openHost({ command = WORKER_COMMAND, ...options }: HostOptions = {}) {
  const nc = await connect({
    ...serversOf(broker.url),
    maxReconnectAttempts: -1,
    reconnectTimeWait: 50,
  });
  const sender = new Sender(nc);
  const quorum = new QuorumWatch({ clock: systemClock, leave: () => {} });
  const requests = new Requests({
    connection: nc,
    sender,
    clock: systemClock,
    quorum,
    inboxPrefix: "_INBOX",
  });
  const bus = natsBus({ connection: nc, requests, sender });
  const exits: WorkerExit[] = [];
  const driver = await ProcessDriver.open({
    dataDir,
    command,
    env: { PATH: process.env["PATH"] ?? "" },
    clock: systemClock,
    log: silentLogger,
    graceMs: 1_000,
  });
  const host = await startDriverHost({
    node: "n1",
    driver,
    bus,
    clock: systemClock,
    log: silentLogger,
    connection: () => ({ natsUrl: broker.workerUrl, partitions: 64 }),
    onExit: (exit) => exits.push(exit),
    ...options,
  });
  return {
    host,
    exits,
    async ask(verb: DriverVerb, input: object, within = 25_000): Promise<DriverReply> {
      return unpack(
        await bus.request(subjects.driver("n1", verb), pack(input), within),
      ) as DriverReply;
    },
    async [Symbol.asyncDispose]() {
      await host.stopAll();
      await host.close();
      await nc.close();
    },
  };
}

describe("a driver host", () => {
  it("starts a worker when asked, twice as once, verifies, lists and stops it", async () => {
    await using rig = await openHost();
    const spec = specOf();
    const started = await Promise.all([1, 2].map(() => rig.ask("start", { spec })));
    expect(started[0]).toEqual({ ok: true, output: { host: "n1", driver: "process" } });
    expect(started[1]).toEqual(started[0]);
    expect(await rig.ask("list", {})).toEqual({
      ok: true,
      output: { driver: "process", workers: [{ worker: spec.worker, spec }] },
    });
    const verified = await rig.ask("verify", {
      workers: [spec.worker, "wrk-gone"].map((worker) => ({ worker, host: "n1" })),
    });
    expect(verified).toMatchObject({
      ok: true,
      output: { lost: ["wrk-gone"], cpu_ms: { [spec.worker]: expect.any(Number) } },
    });
    const stop = { worker: spec.worker, host: "n1", reason: "test", keep_workspace: false };
    expect(await rig.ask("stop", stop)).toEqual({ ok: true, output: {} });
    expect(await rig.ask("stop", stop)).toEqual({ ok: true, output: {} });
    expect(rig.exits).toEqual([]);
  });

  it("answers a request that it cannot read", async () => {
    await using rig = await openHost();
    expect(await rig.ask("start", { spec: { worker: 7 } })).toMatchObject({
      ok: false,
      error: { code: "request.malformed" },
    });
  });

  it("fails the start of a worker that dies or says nothing, once, and leaves nothing", async () => {
    for (const script of ["process.exit(3)", "setInterval(() => {}, 1000)"]) {
      await using rig = await openHost({
        command: [process.execPath, "-e", script],
        helloWithinMs: 700,
      });
      expect(await rig.ask("start", { spec: specOf() })).toMatchObject({
        ok: false,
        error: { code: "worker.start_failed" },
      });
      expect(await rig.ask("list", {})).toMatchObject({ ok: true, output: { workers: [] } });
      expect(rig.exits).toEqual([]);
    }
  });

  it("tells once of a worker that was killed, after its agents are gone too", async () => {
    await using rig = await openHost();
    await using node = await NodeDouble.open(broker);
    const spec = specOf();
    await rig.ask("start", { spec });
    const order = orderOf("shell", "echo $$; sleep 1000");
    await node.tell(spec.worker, { type: "run", order });
    await eventually(() => node.session(order.session_id).text() !== "", { name: "agent runs" });
    const agent = Number(node.session(order.session_id).text());
    process.kill(pidOf(dataDir, spec.worker), "SIGKILL");
    await eventually(() => rig.exits.length > 0, { name: "exit" });
    expect(rig.exits).toMatchObject([{ worker: spec.worker, spec: { tenant: "acme" } }]);
    expect(readProcess(agent)).toBeUndefined();
  });

  it("ends a worker that fell silent, but none while the broker is away", async () => {
    const silentAfterMs = 4_000;
    await using rig = await openHost({ silentAfterMs });
    const spec = specOf();
    await rig.ask("start", { spec });
    const pid = pidOf(dataDir, spec.worker);
    await broker.kill();
    const awayAt = systemClock.monotonic();
    await eventually(() => systemClock.monotonic() > awayAt + 1.5 * silentAfterMs, {
      name: "the worker was silent for longer than is borne",
    });
    await broker.start();
    await eventually(async () => (await rig.ask("list", {}, 500)).ok, { name: "the host is back" });
    expect(rig.exits).toEqual([]);
    process.kill(pid, "SIGSTOP");
    await eventually(() => rig.exits.length > 0, { name: "exit", within: 15_000 });
    const reason = `it fell silent: its host did not hear it for ${silentAfterMs} ms`;
    expect(rig.exits).toMatchObject([{ worker: spec.worker, reason }]);
    expect(readProcess(pid)).toBeUndefined();
  });

  it("ends what nobody wants without a word, and says what it is starting", async () => {
    await using rig = await openHost();
    const [wanted, orphan] = [specOf(), specOf()];
    const starts = [wanted, orphan].map((spec) => rig.ask("start", { spec }));
    await eventually(() => rig.host.starting().length === 2, { name: "both are starting" });
    await Promise.all(starts);
    expect(rig.host.starting()).toEqual([]);
    await rig.host.remove(orphan.worker);
    expect(await rig.ask("list", {})).toMatchObject({
      ok: true,
      output: { workers: [{ worker: wanted.worker }] },
    });
    expect(rig.exits).toEqual([]);
  });

  it("adopts a worker whose node was killed, with its job still running", async () => {
    const spec = specOf();
    await using node = await NodeDouble.open(broker);
    const input = JSON.stringify({ dataDir, natsUrl: broker.workerUrl, spec });
    const script = join(import.meta.dirname, "../../support/driver-parent.ts");
    const parent = spawn(
      process.execPath,
      ["--import", import.meta.resolve("tsx"), script, input],
      { stdio: ["pipe", "pipe", "inherit"] },
    );
    await new Promise((resolve) => parent.stdout.once("data", resolve));
    await eventually(() => node.hellos.has(spec.worker), { name: "hello", within: 20_000 });
    const order = orderOf("shell", "echo a; read go; echo b");
    await node.tell(spec.worker, { type: "run", order });
    await eventually(() => node.session(order.session_id).text() === "a\n", { name: "agent runs" });
    parent.kill("SIGKILL");
    await new Promise((resolve) => parent.once("exit", resolve));

    await using rig = await openHost();
    expect(await rig.ask("list", {})).toMatchObject({
      ok: true,
      output: { workers: [{ worker: spec.worker }] },
    });
    expect(await rig.ask("start", { spec })).toMatchObject({ ok: true });
    await node.tell(spec.worker, { type: "input", job_id: order.job_id, attempt: 1, text: "go\n" });
    expect((await node.over(order)).text()).toBe("a\nb\n");
    expect(rig.exits).toEqual([]);
  });
});
