/** Workers that are started, paused and nobody's yet (P1 to P3 of `executor/drivers/docker/dormant-pool.ts`). */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Driver } from "../../../executor/drivers/driver.ts";
import type { StartStep, WorkerSpec } from "../../../protocols/executor.ts";
import { DEFAULT_TIERS } from "../../../protocols/tiers.ts";
import { describeDocker, docker } from "../../support/docker.ts";
import { type DockerRig, dockerDriverRig } from "../../support/docker-driver-rig.ts";
import { eventually } from "../../support/eventually.ts";
import { type Broker, orderOf, startBroker } from "../../support/executor-rig.ts";

const READY_MS = 60_000;
let count = 0;

function specOf(tier: "free" | "pro", more: Partial<WorkerSpec> = {}): WorkerSpec {
  const limits = DEFAULT_TIERS[tier];
  return {
    worker: `wrk-dormant-${++count}`,
    tenant: "acme",
    tier,
    slots: limits.slotsPerWorker,
    workspace: limits.workspace,
    workspace_key: `key-${count}`,
    cpus: limits.cpus,
    memory_bytes: limits.memoryBytes,
    storage_bytes: limits.storageBytes,
    processes: limits.processes,
    network: limits.network,
    internet: limits.internet,
    ...more,
  };
}

const pro = (user: string) => specOf("pro", { user, workspace_key: `u-${user}` });

describeDocker("dormant workers", () => {
  let broker: Broker;
  beforeAll(async () => {
    broker = await startBroker();
  });
  afterAll(async () => {
    await broker[Symbol.asyncDispose]();
  });

  const filled = (driver: Driver, counts: Readonly<Record<string, number>>) =>
    eventually(() => expect(driver.dormant()).toMatchObject(counts), {
      name: "the pool is full",
      within: READY_MS,
    });
  const paused = async (rig: DockerRig) => {
    const filters = { label: [`berth.deployment=${rig.deployment}`, "berth.part=dormant"] };
    const all = await docker.listContainers({ all: true, filters });
    return all.filter(({ State }) => State === "paused");
  };
  /** Starts it and waits for its hello; tells the steps of its start. */
  const start = async (rig: DockerRig, spec: WorkerSpec, driver = rig.driver) => {
    const steps: StartStep[] = [];
    await driver.start(spec, rig.connection, (step) => steps.push(step));
    await eventually(() => rig.hellos(spec.worker) > 0, { name: "hello", within: READY_MS });
    return steps;
  };

  test("wait paused, nobody's and without a credential, and are what the next start takes", async () => {
    await using rig = await dockerDriverRig(broker, {
      tiers: { free: { dormantWorkers: 1 }, pro: { dormantWorkers: 1 } },
    });
    await filled(rig.driver, { free: 1, pro: 1 });
    const waiting = await paused(rig);
    expect(waiting).toHaveLength(2);
    for (const { Id, Labels } of waiting) {
      expect(Labels["berth.tenant"]).toBeUndefined();
      const { Config } = await docker.getContainer(Id).inspect();
      expect(JSON.stringify(Config)).not.toMatch(/nats:|password/i);
    }
    const [ann, anyone] = [pro("ann"), specOf("free")];
    expect(await start(rig, ann)).toEqual(["claiming"]);
    expect(await start(rig, anyone)).toEqual(["claiming"]);
    const ids = waiting.map(({ Id }) => Id).toSorted();
    const taken = [await rig.containerOf(ann.worker), await rig.containerOf(anyone.worker)];
    expect(taken.toSorted()).toEqual(ids);
    for (const { worker } of [ann, anyone]) {
      const log = await rig.node.run(worker, orderOf("shell", "id -u; pwd"));
      expect(log.text()).toMatch(/^1000\n.*\/workspace\//);
    }
    await filled(rig.driver, { free: 1, pro: 1 });
  });

  test("get their user's workspace when they are claimed, as it was left", async () => {
    await using rig = await dockerDriverRig(broker, { tiers: { pro: { dormantWorkers: 1 } } });
    await filled(rig.driver, { pro: 1 });
    const first = pro("ben");
    await start(rig, first);
    await rig.node.run(first.worker, orderOf("shell", "echo kept > note"));
    await rig.driver.stop(first.worker, { keepWorkspace: true });
    await filled(rig.driver, { pro: 1 });
    const [second, stranger] = [pro("ben"), pro("cid")];
    expect(await start(rig, second)).toEqual(["claiming"]);
    const log = await rig.node.run(second.worker, orderOf("shell", "cat note"));
    expect(log.text()).toBe("kept\n");
    await start(rig, stranger);
    const other = await rig.node.run(stranger.worker, orderOf("shell", "ls -A"));
    expect(other.text()).toBe("");
  });

  test("serve one claimer each, however many come at once; the others get new ones (P1)", async () => {
    await using rig = await dockerDriverRig(broker, { tiers: { free: { dormantWorkers: 2 } } });
    await filled(rig.driver, { free: 2 });
    const specs = Array.from({ length: 4 }, () => specOf("free"));
    const steps = await Promise.all(specs.map((spec) => start(rig, spec)));
    const claimed = steps.filter(([first]) => first === "claiming");
    expect(claimed).toHaveLength(2);
    const containers = await Promise.all(specs.map(({ worker }) => rig.containerOf(worker)));
    expect(new Set(containers).size).toBe(4);
  });

  test("are known again after a restart of their driver, claimed ones as workers", async () => {
    await using rig = await dockerDriverRig(broker, { tiers: { free: { dormantWorkers: 2 } } });
    await filled(rig.driver, { free: 2 });
    const spec = specOf("free");
    await start(rig, spec);
    await filled(rig.driver, { free: 2 });
    const before = (await paused(rig)).map(({ Id }) => Id).toSorted();
    await rig.driver.dispose();
    const again = await rig.reopen();
    expect(await again.list()).toEqual([{ worker: spec.worker, spec }]);
    expect(again.dormant()).toMatchObject({ free: 2 });
    expect((await paused(rig)).map(({ Id }) => Id).toSorted()).toEqual(before);
    expect(await start(rig, specOf("free"), again)).toEqual(["claiming"]);
    for (const { worker } of await again.list()) await again.stop(worker, { keepWorkspace: false });
  });

  test("of another size are nobody's match, and one that died is replaced", async () => {
    await using rig = await dockerDriverRig(broker, { tiers: { free: { dormantWorkers: 1 } } });
    await filled(rig.driver, { free: 1 });
    const steps = await start(rig, specOf("free", { memory_bytes: 256 * 1024 ** 2 }));
    expect(steps).toEqual(["creating", "starting"]);
    const [dormant] = await paused(rig);
    await docker.getContainer(dormant!.Id).remove({ force: true });
    await eventually(
      async () => {
        const [now] = await paused(rig);
        return now !== undefined && now.Id !== dormant!.Id;
      },
      { name: "another one waits", within: READY_MS },
    );
  });
});
