import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { DownReply } from "../../../protocols/executor.ts";
import { eventually } from "../../support/eventually.ts";
import {
  type Broker,
  NodeDouble,
  orderOf,
  startBroker,
  startWorker,
} from "../../support/executor-rig.ts";

let broker: Broker;
let node: NodeDouble;

beforeEach(async () => {
  broker = await startBroker();
  node = await NodeDouble.open(broker);
});
afterEach(async () => {
  await node[Symbol.asyncDispose]();
  await broker[Symbol.asyncDispose]();
});

const COUNTING = "i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); sleep 0.01; done";
const COUNTED = Array.from({ length: 300 }, (_, i) => `line ${i}\n`).join("");

const upMs = (reply: DownReply) => (reply.ok && reply.status?.uptime_ms) || 0;

describe("the uplink", () => {
  it("loses and doubles nothing when the broker is killed twice in the middle of a job", async () => {
    await using worker = await startWorker(broker, node);
    const order = orderOf("shell", COUNTING);
    await node.tell(worker.id, { type: "run", order });
    for (const line of ["line 20\n", "line 150\n"]) {
      await eventually(() => node.session(order.session_id).text().includes(line), { name: line });
      await broker.kill();
      await broker.start();
    }
    const log = await node.over(order, 30_000);
    expect(log.text()).toBe(COUNTED);
    expect(log.outcome).toMatchObject({ state: "succeeded" });
  });

  it("sends again what was taken but not acknowledged, and the session drops the repetition", async () => {
    await using worker = await startWorker(broker, node);
    let lost = 0;
    node.fault = ({ frame }) => (frame === 2 && lost++ < 1 ? "lost" : undefined);
    const order = orderOf("shell", "echo a; sleep 0.1; echo b");
    const log = await node.run(worker.id, order);
    expect(log.text()).toBe("a\nb\n");
    expect(log.repeats).toBe(1);
  });

  it("tries again after an error that may pass, and ends the attempt after one that does not", async () => {
    await using worker = await startWorker(broker, node);
    let refusals = 0;
    node.fault = () =>
      refusals++ < 3 ? { ok: false, error: { code: "actor.moved", message: "" } } : undefined;
    await node.run(worker.id, orderOf("echo", "through"));
    expect(refusals).toBeGreaterThan(3);

    node.fault = () => ({ ok: false, error: { code: "job.superseded", message: "" } });
    const order = orderOf("shell", "sleep 1000");
    await node.tell(worker.id, { type: "run", order });
    await eventually(
      async () => {
        const reply = await node.tell(worker.id, { type: "status" });
        return reply.ok && reply.status?.jobs.length === 0;
      },
      { name: "the attempt is gone" },
    );
    expect(node.session(order.session_id).outcome).toBeUndefined();
  });
});

describe("a worker", () => {
  it("that is told to stop ends its jobs without an outcome, after sending what they said", async () => {
    const worker = await startWorker(broker, node);
    const order = orderOf("shell", "echo said; sleep 1000");
    await node.tell(worker.id, { type: "run", order });
    await eventually(() => node.session(order.session_id).text() === "said\n", { name: "said" });
    await node.tell(worker.id, { type: "stop", reason: "retired" });
    expect(await worker.ended).toBe("retired");
    expect(node.session(order.session_id).outcome).toBeUndefined();
    await worker[Symbol.asyncDispose]();
  });

  it("that no node answers any more ends itself and its jobs", async () => {
    const worker = await startWorker(broker, node, { orphanAfterMs: 500 });
    const order = orderOf("shell", "sleep 1000");
    await node.tell(worker.id, { type: "run", order });
    node.isSilent = true;
    expect(await worker.ended).toContain("no node has answered");
    await worker[Symbol.asyncDispose]();
  });

  it("whose node is away goes on with a job for which another asks, and ends itself when that is over", async () => {
    const orphanAfterMs = 500;
    const worker = await startWorker(broker, node, { orphanAfterMs });
    const order = orderOf("shell", "sleep 1000");
    await node.tell(worker.id, { type: "run", order });
    node.isSilent = true;
    const ask = () => node.tell(worker.id, { type: "status" });
    // Ten times as long: it looks after each of its beats, for which it waits.
    await eventually(async () => upMs(await ask()) > 10 * orphanAfterMs, {
      name: "it lives beyond its time alone",
    });
    await node.tell(worker.id, { type: "cancel", job_id: order.job_id, attempt: 1, by: "ann" });
    const isGone = () =>
      ask().then(
        () => false,
        () => true,
      );
    await eventually(isGone, { name: "it ends, however often it is asked" });
    expect(await worker.ended).toContain("no node has answered");
    await worker[Symbol.asyncDispose]();
  });
});
