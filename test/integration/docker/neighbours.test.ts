/** Jobs side by side in one container, of one user and of two: the kernel keeps them from nothing, so the executor does (X4). */
import { expect, test } from "vitest";
import type { JobOrder } from "../../../protocols/executor.ts";
import { sealedEnvBinding } from "../../../protocols/order-binding.ts";
import { sealLetter } from "../../../runtime/sealing/letter.ts";
import { type ContainerWorker, startContainerWorker } from "../../support/container-worker.ts";
import { describeDocker } from "../../support/docker.ts";
import { eventually } from "../../support/eventually.ts";
import { NodeDouble, orderOf, startBroker } from "../../support/executor-rig.ts";

const VARIABLE = "OPENAI_API_KEY";
/** How many processes that this one may look at have a key in their environment. */
const SPY = `cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -c '^${VARIABLE}=' || true`;

async function withKey(node: NodeDouble, worker: ContainerWorker, order: JobOrder) {
  const reply = await node.tell(worker.id, { type: "status" });
  const key = (reply.ok && reply.status?.sealing_key) || "";
  const content = Buffer.from(JSON.stringify({ [VARIABLE]: "sk-of-ann" }));
  const sealed_env = sealLetter(key, content, sealedEnvBinding(worker.id, order)) ?? "";
  return { ...order, sealed_env };
}

describeDocker("in one container", () => {
  test("a job could read the key of the one beside it: so no other user's runs there until it is over", async () => {
    await using broker = await startBroker();
    await using node = await NodeDouble.open(broker);
    await using worker = await startContainerWorker(broker, node, { mode: "user", slots: 2 });
    const held = await withKey(node, worker, orderOf("shell", "echo begun; read line"));
    expect(await node.tell(worker.id, { type: "run", order: held })).toEqual({ ok: true });
    await eventually(() => node.session(held.session_id).text().includes("begun"), {
      name: "begun",
    });

    const own = await node.run(worker.id, orderOf("shell", SPY));
    expect(Number(own.text())).toBeGreaterThan(0);
    const bobs = orderOf("shell", SPY, { user: "bob" });
    expect(await node.tell(worker.id, { type: "run", order: bobs })).toMatchObject({
      ok: false,
      error: { code: "worker.busy" },
    });

    const { job_id, attempt } = held;
    await node.tell(worker.id, { type: "cancel", job_id, attempt, by: "ann" });
    await node.over(held);
    expect((await node.run(worker.id, bobs)).text()).toBe("0\n");
  });
});
