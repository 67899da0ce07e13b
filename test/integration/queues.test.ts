/** What waits is seen where people look: the API, the buckets and the metrics, also when it waits with its user. */
import { expect, test } from "vitest";
import { BerthClient } from "../../gateway/client.ts";
import { startBerth } from "../support/berth.ts";
import { eventually } from "../support/eventually.ts";

test("jobs that wait behind their user's limit count in queue depth, and no longer once they ran", async () => {
  await using berth = await startBerth({ tiers: { free: { minWorkers: 1, maxWorkers: 1 } } });
  const user = new BerthClient({ url: berth.url, key: berth.keys.free });
  const queued = async () => {
    const response = await fetch(`${berth.url}/v1/queues`, {
      headers: { authorization: `Bearer ${berth.keys.operator}` },
    });
    const { data } = (await response.json()) as { data: { tier: string; queued: number }[] };
    return data.find(({ tier }) => tier === "free")?.queued;
  };
  const depth = async () => {
    const text = await (await fetch(berth.metricsUrl)).text();
    return /^berth_queue_depth\{tier="free"\} (\d+)$/m.exec(text)?.[1];
  };

  const jobs = [];
  for (let n = 0; n < 4; n += 1) {
    jobs.push(await user.submit({ agent: "shell", prompt: n === 0 ? "sleep 30" : "echo done" }));
  }
  await eventually(async () => expect(await queued()).toBe(3), { name: "three wait" });
  await eventually(async () => expect(await depth()).toBe("3"), { name: "the gauge says three" });

  await user.cancel(String(jobs[0]?.id));
  await eventually(async () => expect(await queued()).toBe(0), { name: "none waits" });
  await eventually(async () => expect(await depth()).toBe("0"), { name: "the gauge says none" });
  for (const { id } of jobs.slice(1)) {
    await eventually(async () => expect((await user.job(id)).state).toBe("succeeded"), {
      name: "the jobs that waited ran",
    });
  }
});
