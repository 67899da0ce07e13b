import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../../support/eventually.ts";
import {
  type Broker,
  NodeDouble,
  orderOf,
  startBroker,
  startWorker,
  type WorkerRig,
} from "../../support/executor-rig.ts";

let broker: Broker;
let node: NodeDouble;
let worker: WorkerRig;

beforeAll(async () => {
  broker = await startBroker();
  node = await NodeDouble.open(broker);
  worker = await startWorker(broker, node);
});
afterAll(async () => {
  await worker[Symbol.asyncDispose]();
  await node[Symbol.asyncDispose]();
  await broker[Symbol.asyncDispose]();
});

const types = (log: Awaited<ReturnType<NodeDouble["run"]>>) => log.events.map(({ type }) => type);

/** Live processes whose environment or command line names the job. */
function survivors(job: string): number[] {
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) return [];
    try {
      const state = readFileSync(`/proc/${name}/stat`, "latin1").split(") ").at(-1)?.[0];
      const text =
        readFileSync(`/proc/${name}/environ`, "latin1") +
        readFileSync(`/proc/${name}/cmdline`, "latin1");
      return state !== "Z" && text.includes(job) ? [Number(name)] : [];
    } catch {
      return [];
    }
  });
}

describe("a job", () => {
  it("of echo says its prompt back in one frame, without a process", async () => {
    const log = await node.run(worker.id, orderOf("echo", "hello\nworld"));
    expect(log.text()).toBe("hello\nworld\n");
    expect(types(log)).toEqual(["job.started", "agent.output"]);
    expect(log.lastFrame).toBe(1);
    expect(log.outcome).toEqual({ state: "succeeded", exit_code: 0 });
  });

  it("of shell streams both outputs and ends with the script's exit code", async () => {
    const log = await node.run(worker.id, orderOf("shell", "echo out; echo err >&2; exit 3"));
    expect(log.text()).toBe("out\n");
    expect(log.text("stderr")).toBe("err\n");
    expect(log.outcome).toMatchObject({
      state: "failed",
      exit_code: 3,
      error: { code: "agent.failed" },
    });
  });

  it("of shell goes on after a command that fails, as sh -c does, and names a signal by its shell code", async () => {
    const log = await node.run(worker.id, orderOf("shell", "false\necho on\nkill -9 $$"));
    expect(log.text()).toBe("on\n");
    expect(log.outcome).toMatchObject({ state: "failed", exit_code: 137 });
  });

  it("takes a script of 256 KiB", async () => {
    const log = await node.run(
      worker.id,
      orderOf("shell", `# ${"x".repeat(256 * 1024 - 20)}\necho big`),
    );
    expect(log.text()).toBe("big\n");
  });

  it("runs a script by the interpreter that it names", async () => {
    const log = await node.run(
      worker.id,
      orderOf("shell", "#!/usr/bin/env node\nconsole.log(6 * 7)\n"),
    );
    expect(log.text()).toBe("42\n");
  });

  it("shows a line before the script ends, and an unfinished line too", async () => {
    const order = orderOf("shell", "printf 'name? '; read name; echo \"hi $name\"");
    await node.tell(worker.id, { type: "run", order });
    const log = node.session(order.session_id);
    await eventually(() => log.text() === "name? ", { name: "prompt" });
    expect(
      await node.tell(worker.id, {
        type: "input",
        job_id: order.job_id,
        attempt: 1,
        text: "Ann\n",
      }),
    ).toEqual({ ok: true });
    await node.over(order);
    expect(log.text()).toBe("name? hi Ann\n");
  });

  it("that is unknown, absent or lacks its key fails with the code that says so", async () => {
    const codeOf = async (agent: string, env: Record<string, string> = {}) => {
      const { outcome } = await node.run(worker.id, orderOf(agent, "hi", { env }));
      return outcome?.state === "failed" ? outcome.error.code : outcome?.state;
    };
    expect(await codeOf("nobody")).toBe("agent.unknown");
    expect(await codeOf("claude")).toBe("agent.credential_missing");
    await using bare = await startWorker(broker, node, { path: "/nonexistent" });
    const { outcome } = await node.run(
      bare.id,
      orderOf("claude", "hi", { env: { ANTHROPIC_API_KEY: "k" } }),
    );
    expect(outcome).toMatchObject({ state: "failed", error: { code: "agent.unavailable" } });
  });

  it("sees its own variables, and none of the worker's", async () => {
    const log = await node.run(
      worker.id,
      orderOf("shell", "env", { env: { API_KEY: "k1", PATH: "/evil", HOME: "/evil" } }),
    );
    const env = Object.fromEntries(
      log
        .text()
        .trim()
        .split("\n")
        .map((line) => line.split(/=(.*)/s).slice(0, 2)),
    );
    expect(env).toMatchObject({ API_KEY: "k1" });
    expect(env["HOME"]).toContain(worker.root);
    expect(env["PATH"]).not.toBe("/evil");
    expect(
      Object.keys(env)
        .filter((name) => name.startsWith("BERTH_"))
        .toSorted(),
    ).toEqual(["BERTH_JOB_ID", "BERTH_RUN", "BERTH_SESSION_ID"]);
    expect(log.text()).not.toContain(new URL(broker.workerUrl).password);
  });
});

describe("a workspace", () => {
  it("of mode job is empty for each job and gone after it, also when permissions were taken away", async () => {
    const script =
      "ls -A . $HOME $TMPDIR | grep -v script-; touch a $HOME/b $TMPDIR/c; mkdir d; touch d/e; chmod 0 d";
    for (const _ of [1, 2]) {
      const log = await node.run(worker.id, orderOf("shell", script));
      expect(log.text()).not.toMatch(/^[abc]$/m);
      expect(readdirSync(join(worker.root, "tmp"))).toEqual([]);
    }
  });

  it("of mode user keeps files for the next job, at the same path, but no temporary ones", async () => {
    await using kept = await startWorker(broker, node, { mode: "user" });
    const first = await node.run(kept.id, orderOf("shell", "pwd; touch a $TMPDIR/c"));
    const second = await node.run(kept.id, orderOf("shell", "pwd; ls -A . $TMPDIR"));
    expect(second.text()).toContain(first.text().trim());
    expect(second.text()).toMatch(/^a$/m);
    expect(second.text()).not.toMatch(/^c$/m);
  });
});

describe("cancel", () => {
  const cancel = (job_id: string) =>
    node.tell(worker.id, { type: "cancel", job_id, attempt: 1, by: "ann" });

  it("kills forks, double forks in sessions of their own, and what ignores SIGTERM, and reports when all are gone", async () => {
    const script = `
      sleep 1000 &
      (setsid sh -c 'setsid sleep 1001 & sleep 1002' &)
      (trap '' TERM; while :; do sleep 1003; done) &
      echo ready; wait`;
    const order = orderOf("shell", script);
    await node.tell(worker.id, { type: "run", order });
    await eventually(() => node.session(order.session_id).text() === "ready\n", { name: "ready" });
    await eventually(() => survivors(order.job_id).length >= 7, { name: "all processes run" });
    expect(await cancel(order.job_id)).toEqual({ ok: true });
    const log = await node.over(order);
    expect(survivors(order.job_id)).toEqual([]);
    expect(log.outcome).toMatchObject({ state: "cancelled" });
    expect(
      log.outcome?.state === "cancelled" && log.outcome.processes_killed,
    ).toBeGreaterThanOrEqual(7);
  });

  it("ends what answers SIGTERM by starting itself again in another session", async () => {
    const script = "trap 'setsid sh \"$0\" & exit' TERM; echo up; sleep 1000 & wait";
    const order = orderOf("shell", script);
    await node.tell(worker.id, { type: "run", order });
    await eventually(() => node.session(order.session_id).text() === "up\n", { name: "up" });
    await cancel(order.job_id);
    const log = await node.over(order);
    expect(log.outcome).toMatchObject({ state: "cancelled" });
    // The script, its sleep and at least one of its next selves, which may die before it can print.
    expect(
      log.outcome?.state === "cancelled" && log.outcome.processes_killed,
    ).toBeGreaterThanOrEqual(3);
    expect(survivors(order.job_id)).toEqual([]);
  });

  it("reaches a process that left its parent, its session and its environment behind, once a look has seen it", async () => {
    const order = orderOf("shell", "env -i setsid sleep 1005 & echo ready; read line");
    await node.tell(worker.id, { type: "run", order });
    await eventually(() => node.session(order.session_id).text() === "ready\n", { name: "ready" });
    await eventually(() => processesRunning("sleep\u00001005").length === 1, { name: "it runs" });
    await node.tell(worker.id, { type: "status" });
    await node.tell(worker.id, { type: "input", job_id: order.job_id, attempt: 1, text: "go\n" });
    const log = await node.over(order);
    expect(log.outcome).toMatchObject({ state: "succeeded" });
    expect(processesRunning("sleep\u00001005")).toEqual([]);
  });

  it("that overtakes the order ends the job before it begins", async () => {
    const order = orderOf("shell", "echo never");
    expect(await cancel(order.job_id)).toMatchObject({
      ok: false,
      error: { code: "job.not_running" },
    });
    const log = await node.run(worker.id, order);
    expect(log.outcome).toEqual({ state: "cancelled", processes_killed: 0 });
    expect(log.text()).toBe("");
  });

  it("after the end changes nothing", async () => {
    const order = orderOf("echo", "done");
    await node.run(worker.id, order);
    expect(await cancel(order.job_id)).toEqual({ ok: true });
  });
});

function processesRunning(command: string): string[] {
  return readdirSync("/proc").filter((name) => {
    try {
      return (
        /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, "latin1").includes(command)
      );
    } catch {
      return false;
    }
  });
}

describe("the end of a job", () => {
  it("comes by its time limit, with the same thoroughness as a cancel", async () => {
    const order = orderOf("shell", "trap '' TERM; sleep 1000 & wait; sleep 1000", {
      timeout_ms: 200,
    });
    const log = await node.run(worker.id, order);
    expect(log.outcome).toEqual({ state: "timed_out", limit_ms: 200 });
    expect(survivors(order.job_id)).toEqual([]);
  });

  it("takes what was left in the background with it, and is a success all the same", async () => {
    const order = orderOf("shell", "setsid sleep 1000 > /dev/null & sleep 1000 & echo bye");
    const log = await node.run(worker.id, order);
    expect(log.outcome).toEqual({ state: "succeeded", exit_code: 0 });
    expect(log.text()).toBe("bye\n");
    expect(survivors(order.job_id)).toEqual([]);
  });
});

describe("orders", () => {
  it("that come again run once; older attempts and orders above the slots are refused", async () => {
    const order = orderOf("shell", "echo run; sleep 0.2", { attempt: 2 });
    const [first, again] = await Promise.all(
      [1, 2].map(() => node.tell(worker.id, { type: "run", order })),
    );
    expect([first, again]).toEqual([{ ok: true }, { ok: true }]);
    const older = await node.tell(worker.id, { type: "run", order: { ...order, attempt: 1 } });
    expect(older).toMatchObject({ ok: false, error: { code: "job.superseded" } });
    await node.tell(worker.id, { type: "run", order: orderOf("shell", "sleep 0.3") });
    const third = await node.tell(worker.id, { type: "run", order: orderOf("shell", "true") });
    expect(third).toMatchObject({ ok: false, error: { code: "worker.busy" } });
    const log = await node.over(order);
    expect(await node.tell(worker.id, { type: "run", order })).toEqual({ ok: true });
    expect(log.text()).toBe("run\n");
  });

  it("that cannot be read are answered, and disturb nothing", async () => {
    const reply = await node.tell(worker.id, { type: "dance" } as never);
    expect(reply).toMatchObject({ ok: false, error: { code: "request.malformed" } });
    expect(await node.tell(worker.id, { type: "status" })).toMatchObject({
      ok: true,
      status: { worker: worker.id },
    });
  });
});

describe("output", () => {
  it("of 100 MB is cut at the limit with one event that says so, and the job goes on to its end", async () => {
    await using small = await startWorker(broker, node, { outputLimitBytes: 1024 * 1024 });
    const order = orderOf("shell", "head -c 100000000 /dev/zero | tr '\\0' 'x'; echo; exit 5");
    const log = await node.run(small.id, order, 30_000);
    expect(log.outcome).toMatchObject({ exit_code: 5 });
    expect(log.text().length).toBeLessThanOrEqual(1024 * 1024);
    expect(log.events.filter(({ data }) => data["truncated_bytes"] !== undefined)).toHaveLength(1);
  });

  it("that is no text is replaced and flagged, with offsets in bytes", async () => {
    const log = await node.run(
      worker.id,
      orderOf("shell", "printf 'a\\377\\000b\\n'; printf 'ok\\n'"),
    );
    const outputs = log.events
      .filter(({ type }) => type === "agent.output")
      .map(({ data }) => data);
    expect(outputs[0]).toMatchObject({ binary: true, offset: 0 });
    expect(log.text()).toBe("a\uFFFD\uFFFDb\nok\n");
  });

  it("is not read faster than it is acknowledged", async () => {
    const order = orderOf(
      "shell",
      "for i in 1 2 3 4 5 6 7 8; do head -c 1000000 /dev/zero | tr '\\0' 'x'; echo; done; echo $PPID > done",
    );
    await using slow = await startWorker(broker, node, { mode: "user" });
    let held = true;
    node.fault = ({ job_id, frame }) =>
      held && job_id === order.job_id && frame > 1
        ? { ok: false, error: { code: "actor.overloaded", message: "" } }
        : undefined;
    await node.tell(slow.id, { type: "run", order });
    await eventually(() => node.session(order.session_id).lastFrame === 1, { name: "first frame" });
    // Two beats later the script still waits for its pipe.
    const beats = node.beats;
    await eventually(() => node.beats > beats + 1, { name: "time passes", within: 8_000 });
    expect(existsSync(join(slow.root, "work", "done"))).toBe(false);
    held = false;
    const log = await node.over(order, 30_000);
    node.fault = () => undefined;
    expect(log.text().length).toBe(8 * 1_000_001);
  });
});
