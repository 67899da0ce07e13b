/** What people see of workers that are containers: figures of the engine, dormant ones, claims, logs of the dead. */
import { expect, test } from "vitest";
import type { ApiWorker, WorkerLog, WorkerPage } from "../../../protocols/api-operators.ts";
import { startCommand } from "../../support/berth-command.ts";
import { describeDocker, docker, EXECUTOR_IMAGE } from "../../support/docker.ts";
import { type DockerBerth, spawnDockerBerth } from "../../support/docker-berth.ts";
import { eventually } from "../../support/eventually.ts";
import { valuesIn } from "../../support/metrics-text.ts";

const TEST_MS = 120_000;
const START_MS = 60_000;
const MIB = 1024 ** 2;
const TIERS = {
  free: { minWorkers: 1, maxWorkers: 1, dormantWorkers: 0, memoryBytes: 512 * MIB },
  pro: { dormantWorkers: 1, cpus: 1, memoryBytes: 256 * MIB, idleTimeoutMs: 600_000 },
  enterprise: { minWorkers: 0, dormantWorkers: 0 },
};

async function operatorOf(host: DockerBerth) {
  const { keys, metrics_url, url } = await host.berth.dev();
  const get = async <T>(path: string): Promise<T> => {
    const headers = { authorization: `Bearer ${keys.operator}` };
    const answer = await fetch(`${url}${path}`, { headers });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return (await answer.json()) as T;
  };
  return {
    get,
    list: () => get<WorkerPage>("/v1/workers"),
    find: async (tier: ApiWorker["tier"]) =>
      (await get<WorkerPage>("/v1/workers")).data.find((worker) => worker.tier === tier),
    metric: async (name: string) =>
      Object.fromEntries(valuesIn(await (await fetch(metrics_url)).text(), name)),
    async berth(...args: string[]) {
      await using command = startCommand(args, { url, key: keys.operator });
      const code = await command.done();
      return { code, out: command.out(), err: command.err() };
    },
  };
}

describeDocker("workers that are containers", () => {
  test("show image, CPU and memory of their limits, count a claim as dormant, and keep the log of one that was killed", {
    timeout: TEST_MS,
  }, async () => {
    await using host = await spawnDockerBerth({ BERTH_TIERS: JSON.stringify(TIERS) });
    const operator = await operatorOf(host);
    await eventually(async () => (await operator.list()).dormant?.["pro"] === 1, {
      within: START_MS,
      name: "one is dormant",
    });
    const client = await host.client();
    const { id: job } = await client.submit({ agent: "shell", prompt: "while :; do :; done" });
    const busy = await eventually(
      async () => {
        const found = await operator.find("pro");
        // Its place tells that it is busy a moment after it is.
        return found?.phase === "busy" && (found.cpus_used ?? 0) > 0.3 && found;
      },
      { within: START_MS, name: "its CPU shows" },
    );
    expect(busy).toMatchObject({
      driver: "docker",
      image: EXECUTOR_IMAGE,
      phase: "busy",
      jobs: [job],
      cpus_limit: 1,
      memory_limit_bytes: 256 * MIB,
    });
    expect(busy.cpus_used).toBeLessThan(1.3);
    expect(busy.memory_bytes).toBeGreaterThan(5 * MIB);
    expect(busy.processes).toBeGreaterThan(1);
    const claims = await operator.metric("berth_worker_starts_total");
    expect(claims).toMatchObject({ '{tier="pro",kind="dormant",outcome="started"}': 1 });

    const { out: table } = await operator.berth("workers");
    expect(table).toMatch(
      new RegExp(`^${busy.id} +busy .* \\d\\.\\d\\d/1 +\\d+ MiB/256 MiB +- `, "m"),
    );
    const alive = await operator.get<WorkerLog>(`/v1/workers/${busy.id}/log`);
    expect(alive.log).toContain("attempt started");

    // It was dormant when its labels were written; the next dormant one is paused.
    const label = [`berth.deployment=${host.deployment}`, "berth.part=dormant"];
    const own = await eventually(
      async () => {
        const filters = { label, status: ["running"] };
        const [first, ...others] = await docker.listContainers({ filters });
        return first !== undefined && others.length === 0 && first;
      },
      { within: START_MS, name: "the next dormant one is paused" },
    );
    await docker.getContainer(own.Id).kill();
    await eventually(
      async () => expect((await operator.berth("worker", "show", busy.id)).code).toBe(4),
      { within: 20_000, name: "it is gone" },
    );
    const kept = await operator.berth("worker", "log", busy.id);
    expect([kept.code, kept.err]).toEqual([0, ""]);
    expect(kept.out).toContain("attempt started");
    expect(await operator.metric("berth_worker_exits_total")).toEqual({
      '{tier="pro",code="worker.lost"}': 1,
    });
  });

  test("tell the owner of a job how far the start of its container is", {
    timeout: TEST_MS,
  }, async () => {
    const tiers = { ...TIERS, pro: { ...TIERS.pro, dormantWorkers: 0 } };
    await using host = await spawnDockerBerth({ BERTH_TIERS: JSON.stringify(tiers) });
    const { keys, url } = await host.berth.dev();
    const client = await host.client();
    const { id } = await client.submit({ agent: "echo", prompt: "at last" });
    const seen = new Set<string>();
    await eventually(
      async () => {
        const headers = { authorization: `Bearer ${keys.pro}` };
        const answer = await fetch(`${url}/v1/jobs/${id}/wait`, { headers });
        const wait = (await answer.json()) as { state: string; waits_on: string; step: string };
        if (wait.waits_on === "worker") seen.add(wait.step);
        return wait.state === "succeeded";
      },
      { within: START_MS, name: "it ran" },
    );
    // Looks are a second apart: a start is seen at one of its steps at least.
    expect(seen.size).toBeGreaterThan(0);
    for (const step of seen) expect([null, "creating", "starting", "connecting"]).toContain(step);
    const operator = await operatorOf(host);
    const starts = await operator.metric("berth_worker_start_seconds_count");
    expect(starts).toMatchObject({ '{tier="pro",kind="cold"}': 1 });
  });
});
