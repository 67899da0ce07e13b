/** What a worker does with an agent's keys: its process alone gets them, and only as they were sealed. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { JobOrder } from "../../../protocols/executor.ts";
import { sealedEnvBinding } from "../../../protocols/order-binding.ts";
import { newLetterKey, sealLetter } from "../../../runtime/sealing/letter.ts";
import { eventually } from "../../support/eventually.ts";
import {
  type Broker,
  NodeDouble,
  orderOf,
  startBroker,
  startWorker,
  type WorkerRig,
} from "../../support/executor-rig.ts";

const SECRET = "sk-worker-canary-0123456789";
let broker: Broker;
let node: NodeDouble;
let worker: WorkerRig;
let publicKey = "";

beforeAll(async () => {
  broker = await startBroker();
  node = await NodeDouble.open(broker);
  worker = await startWorker(broker, node);
  const reply = await node.tell(worker.id, { type: "status" });
  publicKey = (reply.ok && reply.status?.sealing_key) || "";
});
afterAll(async () => {
  await worker[Symbol.asyncDispose]();
  await node[Symbol.asyncDispose]();
  await broker[Symbol.asyncDispose]();
});

function withSecrets(
  order: JobOrder,
  binding = sealedEnvBinding(worker.id, order),
  key = publicKey,
): JobOrder {
  const content = Buffer.from(JSON.stringify({ OPENAI_API_KEY: SECRET }));
  return { ...order, sealed_env: sealLetter(key, content, binding) ?? "" };
}

const isRunning = (order: JobOrder) => () =>
  node.session(order.session_id).events.some(({ type }) => type === "job.started");
const cancel = async (order: JobOrder) => {
  const { job_id, attempt } = order;
  await node.tell(worker.id, { type: "cancel", job_id, attempt, by: "test" });
  await node.over(order);
};

describe("an agent's keys", () => {
  it("are in its environment, and in the next job's not", async () => {
    const script = 'printf %s "$OPENAI_API_KEY" | sha256sum | cut -c1-64; env | grep -c _API_KEY';
    const log = await node.run(worker.id, withSecrets(orderOf("shell", script)));
    expect(log.text()).toBe(`${createHash("sha256").update(SECRET).digest("hex")}\n1\n`);
    const next = await node.run(worker.id, orderOf("shell", "env | grep -c OPENAI || true"));
    expect(next.text()).toBe("0\n");
  });

  it("do not open for another worker, job or attempt, or with a key that is not this worker's", async () => {
    const order = orderOf("shell", "true");
    const stranger = newLetterKey().publicKey;
    const sealed = withSecrets(order);
    for (const bad of [
      withSecrets(order, sealedEnvBinding("wrk-other", order)),
      withSecrets(order, sealedEnvBinding(worker.id, { job_id: "job-other", attempt: 1 })),
      withSecrets(order, sealedEnvBinding(worker.id, { ...order, attempt: 2 })),
      withSecrets(order, sealedEnvBinding(worker.id, order), stranger),
      { ...sealed, attempt: 2 },
      { ...sealed, sealed_env: `A${sealed.sealed_env?.slice(1)}` },
      { ...sealed, sealed_env: "" },
    ])
      expect(await node.tell(worker.id, { type: "run", order: bad })).toMatchObject({
        ok: false,
        error: { code: "credential.unreadable" },
      });
    expect(node.session(order.session_id).events).toEqual([]);
    // Nothing of it was taken: the right order still runs.
    expect((await node.run(worker.id, sealed)).outcome).toMatchObject({ state: "succeeded" });
  });

  it("keep other users' jobs out of the worker while they are in it, and are kept out by them (X4)", async () => {
    const user = "bob";
    const held = withSecrets(orderOf("shell", "read line"));
    await node.tell(worker.id, { type: "run", order: held });
    await eventually(isRunning(held), { name: "it runs" });
    const busy = { ok: false, error: { code: "worker.busy" } };
    const stranger = orderOf("shell", "true", { user });
    expect(await node.tell(worker.id, { type: "run", order: stranger })).toMatchObject(busy);
    const own = await node.run(worker.id, orderOf("shell", "echo beside"));
    expect(own.text()).toBe("beside\n");
    await cancel(held);
    const theirs = orderOf("shell", "read line", { user });
    await node.tell(worker.id, { type: "run", order: theirs });
    await eventually(isRunning(theirs), { name: "it runs" });
    const late = withSecrets(orderOf("shell", "true"));
    expect(await node.tell(worker.id, { type: "run", order: late })).toMatchObject(busy);
    await cancel(theirs);
    expect((await node.run(worker.id, late)).outcome).toMatchObject({ state: "succeeded" });
  });

  it("are in the environment of the agent's own processes and of no other", async () => {
    const order = withSecrets(orderOf("shell", "read line"));
    await node.tell(worker.id, { type: "run", order });
    await eventually(isRunning(order), { name: "it runs" });
    const holders = readdirSync("/proc").flatMap((pid) => {
      try {
        const text =
          readFileSync(`/proc/${pid}/environ`, "latin1") +
          readFileSync(`/proc/${pid}/cmdline`, "latin1");
        return text.includes(SECRET) ? [text.includes(order.job_id)] : [];
      } catch {
        return [];
      }
    });
    await cancel(order);
    expect(holders.length).toBeGreaterThan(0);
    expect(holders.every(Boolean)).toBe(true);
  });
});
