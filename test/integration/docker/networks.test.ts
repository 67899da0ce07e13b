/** Networks on the real engine: who gets which, and when they go. */
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import Docker from "dockerode";
import { afterEach, beforeEach, expect, test } from "vitest";
import { mustRun, runCommand } from "../../../executor/drivers/docker/command.ts";
import { EngineNetworks } from "../../../executor/drivers/docker/engine-networks.ts";
import { deploymentChainPrefix } from "../../../executor/drivers/docker/network-names.ts";
import type {
  NetworkOwner,
  Networks,
  WorkerNetwork,
} from "../../../executor/drivers/docker/networks.ts";
import { deferred } from "../../support/deferred.ts";
import { describeDocker, docker, EXECUTOR_IMAGE } from "../../support/docker.ts";
import { eventually } from "../../support/eventually.ts";
import { DOOR_PORT, type WorkerNetworks, workerNetworks } from "../../support/worker-networks.ts";

const SHARED: NetworkOwner = { kind: "shared" };
const userOf = (n: number): NetworkOwner => ({ kind: "user", tenant: "acme", user: `user-${n}` });
const OPEN = { internet: true, labels: {} };
const keep = async (network: WorkerNetwork) => network;

const subnetOf = async ({ name }: WorkerNetwork) => {
  const { IPAM } = await docker.getNetwork(name).inspect();
  return IPAM?.Config?.[0]?.Subnet;
};

/** Whether somebody listens at a network's door, also when its address is gone. */
async function hasDoor({ gateway }: WorkerNetwork): Promise<boolean> {
  const address = Buffer.from(gateway.split(".").map(Number).toReversed()).toString("hex");
  const place = `${address}:${DOOR_PORT.toString(16)}`.toUpperCase();
  const sockets = (await readFile("/proc/net/tcp", "utf8")).split("\n");
  return sockets.some((line) => line.includes(` ${place} 00000000:0000 `));
}

describeDocker("the networks of a node", () => {
  let rig: WorkerNetworks;
  let networks: Networks;
  beforeEach(async () => {
    rig = workerNetworks();
    networks = await rig.open();
  });
  afterEach(async () => {
    await rig[Symbol.asyncDispose]();
  });

  test("are one for each owner, however many ask at once, and with the door open before anybody works in it", async () => {
    const owners: NetworkOwner[] = [
      SHARED,
      userOf(1),
      userOf(2),
      { kind: "tenant", tenant: "acme" },
      { kind: "dormant", sandbox: "sandbox-1" },
    ];
    const asked = [...owners, ...owners, ...owners, ...owners];
    const got = await Promise.all(
      asked.map((owner) =>
        networks.use(owner, OPEN, async (network) => {
          expect(await hasDoor(network)).toBe(true);
          return network;
        }),
      ),
    );
    const ids = owners.map((_, i) => got.filter((_network, j) => j % owners.length === i));
    for (const same of ids) expect(new Set(same.map(({ id }) => id)).size).toBe(1);
    expect(await rig.names()).toHaveLength(owners.length);
    expect(new Set(got.map(({ gateway }) => gateway)).size).toBe(owners.length);
  });

  test("are made as their owner and settings say, and labelled", async () => {
    const labels = { "berth.tenant": "acme", "berth.deployment": "a lie" };
    const look = async (owner: NetworkOwner, internet: boolean) => {
      const { name } = await networks.use(owner, { internet, labels }, keep);
      return await docker.getNetwork(name).inspect();
    };
    const [user, team, shared] = [
      await look(userOf(1), false),
      await look({ kind: "tenant", tenant: "acme" }, true),
      await look(SHARED, true),
    ];
    const icc = "com.docker.network.bridge.enable_icc";
    expect([user, team, shared].map(({ Internal }) => Internal)).toEqual([true, false, false]);
    expect([user, team, shared].map(({ Options }) => Options?.[icc])).toEqual([
      "false",
      "true",
      "false",
    ]);
    expect(
      [user, team, shared].map(({ IPAM }) => IPAM?.Config?.[0]?.Subnet?.split("/")[1]),
    ).toEqual(["27", "27", "22"]);
    expect(user.EnableIPv6).toBe(false);
    expect(user.Labels).toEqual({
      "berth.tenant": "acme",
      "berth.deployment": rig.owner.deployment,
      "berth.node": rig.owner.node,
      "berth.part": "network",
    });
  });

  test("of one owner are two when one leads to the internet and one does not", async () => {
    const one = await networks.use(userOf(1), OPEN, keep);
    const two = await networks.use(userOf(1), { internet: false, labels: {} }, keep);
    expect(two.name).not.toBe(one.name);
    expect(await rig.names()).toHaveLength(2);
  });

  test("go by a sweep or a release when nobody uses them, never while somebody holds them", async () => {
    const done = deferred();
    const entered = deferred<WorkerNetwork>();
    const held = networks.use(userOf(1), OPEN, async (network) => {
      entered.resolve(network);
      await done.promise;
      // Still there, after all that was tried.
      expect((await docker.getNetwork(network.name).inspect()).Id).toBe(network.id);
    });
    const network = await entered.promise;
    const other = await networks.use(userOf(2), OPEN, keep);
    expect(await networks.sweep()).toEqual([other.name]);
    await networks.release(network.name);
    expect(await rig.names()).toEqual([network.name]);
    done.resolve();
    await held;
    await networks.release(network.name);
    expect(await rig.names()).toEqual([]);
    expect(await hasDoor(network)).toBe(false);
    await networks.release(network.name);
  });

  test("stay while a container is in them, also one that was only created and never started", async () => {
    const running = await rig.startWorker(networks, userOf(1));
    const created = await networks.use(userOf(2), OPEN, async ({ name }) => {
      const container = await docker.createContainer({
        Image: EXECUTOR_IMAGE,
        Labels: { "berth.deployment": rig.owner.deployment, "berth.node": rig.owner.node },
        HostConfig: { NetworkMode: name },
      });
      return { container, name };
    });
    expect(await networks.sweep()).toEqual([]);
    for (const name of [running.network.name, created.name]) await networks.release(name);
    expect(await rig.names()).toHaveLength(2);
    await running.container.remove({ force: true });
    expect(await networks.sweep()).toEqual([running.network.name]);
    await created.container.remove();
    await networks.release(created.name);
    expect(await rig.names()).toEqual([]);
  });

  test("are never gone under somebody's hands, while others sweep and release without end", async () => {
    const over = new AbortController();
    const disturb = async () => {
      for (let n = 0; !over.signal.aborted; n = (n + 1) % 2) {
        if (n === 0) await networks.sweep({ all: true });
        for (const name of await rig.names()) await networks.release(name);
      }
    };
    const disturbing = [disturb(), disturb()];
    const made = new Set<string>();
    const work = () =>
      networks.use(userOf(1), OPEN, async ({ name, id }) => {
        made.add(id);
        for (let looks = 0; looks < 3; looks += 1)
          expect((await docker.getNetwork(name).inspect()).Id).toBe(id);
      });
    const rounds = async () => {
      for (let round = 0; round < 16; round += 1) {
        await Promise.all([work(), work()]);
        // The next round begins at another moment of what the others do.
        for (let pause = 0; pause < round % 8; pause += 1) await rig.names();
      }
    };
    await rounds().finally(() => over.abort());
    await Promise.all(disturbing);
    expect(made.size).toBeGreaterThan(1);
    await networks.sweep({ all: true });
    expect(await rig.names()).toEqual([]);
  });

  test("can be many more than the engine's own pools hold, and no two are given the same addresses though all are made at once", async () => {
    let orders = 0;
    const engine: Docker = Object.assign(new Docker(), {
      createNetwork(options: Docker.NetworkCreateOptions) {
        orders += 1;
        return docker.createNetwork(options);
      },
    });
    // 64 blocks: many begin their search at the same one.
    const crowded = await rig.open({ engine, subnets: "10.211.240.0/21" });
    const many = Array.from({ length: 60 }, (_, n) => userOf(n));
    const got = await Promise.all(many.map((owner) => crowded.use(owner, OPEN, keep)));
    expect(new Set(await Promise.all(got.map(subnetOf))).size).toBe(60);
    expect(orders).toBe(60);
    expect(await crowded.sweep()).toHaveLength(60);
    expect(await rig.names()).toEqual([]);
  });

  test("that were removed by hand are made again, and their doors are closed and opened where they are now", async () => {
    const first = await networks.use(userOf(1), OPEN, keep);
    const lost = await networks.use(userOf(2), OPEN, keep);
    for (const { name } of [first, lost]) await docker.getNetwork(name).remove();
    expect(await hasDoor(lost)).toBe(true);
    const again = await networks.use(userOf(1), OPEN, keep);
    expect(again.id).not.toBe(first.id);
    expect(await hasDoor(again)).toBe(true);
    await rig.startWorker(networks, userOf(1));
    expect(await networks.sweep()).toEqual([]);
    expect(await hasDoor(lost)).toBe(false);
  });

  test("are found by the next process of the node, with doors, and not by another node or deployment", async () => {
    const worker = await rig.startWorker(networks, userOf(1));
    await networks.close();
    expect(await hasDoor(worker.network)).toBe(false);
    await expect(networks.use(userOf(1), OPEN, keep)).rejects.toThrow("stopping");
    const next = await rig.open();
    expect(await hasDoor(worker.network)).toBe(true);
    await worker.container.remove({ force: true });
    const stranger = await rig.open({ owner: { ...rig.owner, node: "node-2" } });
    expect(await stranger.sweep({ all: true })).toEqual([]);
    expect(await next.sweep()).toEqual([worker.network.name]);
  });

  test("whose door's port another process has are refused by that name, and mended when it is free", async () => {
    const { network } = await rig.startWorker(networks, userOf(1));
    await networks.close();
    const other = createServer().listen(DOOR_PORT, network.gateway);
    await once(other, "listening");
    const next = await rig.open();
    const place = `port ${DOOR_PORT} of ${network.gateway}`;
    await expect(next.use(userOf(1), OPEN, keep)).rejects.toMatchObject({
      code: "driver.failed",
      message: expect.stringMatching(`${place}.*is taken by another process`),
    });
    other.close();
    await once(other, "close");
    expect(await next.sweep()).toEqual([]);
    expect(await hasDoor(network)).toBe(true);
  });

  test("leave the shared one standing, until all are swept: then its rules go, too, and come back with the next", async () => {
    const rules = async () => {
      const all = await mustRun(runCommand, "iptables", ["-w", "-S"]);
      return all.includes(deploymentChainPrefix(rig.owner.deployment));
    };
    const shared = await networks.use(SHARED, OPEN, keep);
    expect(await networks.sweep()).toEqual([]);
    expect(await rules()).toBe(true);
    expect(await networks.sweep({ all: true })).toEqual([shared.name]);
    expect(await rules()).toBe(false);
    await networks.use(SHARED, OPEN, async () => {
      expect(await rules()).toBe(true);
    });
  });

  test("give way to whoever has their addresses, device or name already", async () => {
    const engine = new EngineNetworks(docker, rig.owner);
    const order = {
      name: `${rig.owner.deployment}-one`,
      bridge: `bt${rig.owner.deployment.slice(-8)}`,
      subnet: "10.212.77.0/27",
      reach: "closed" as const,
      isCommon: false,
      labels: {},
    };
    await engine.create(order);
    const other = { ...order, name: `${order.name}-other`, subnet: "10.212.78.0/27" };
    expect(await engine.create({ ...other, subnet: order.subnet })).toBe("subnet");
    expect(await engine.create({ ...other, subnet: "10.212.76.0/22" })).toBe("subnet");
    expect(await engine.create(other)).toBe("bridge");
    expect(await engine.create({ ...other, name: order.name })).toBe("name");
  });

  test("end with a clear sentence when the range is full", async () => {
    const small = await rig.open({ subnets: "10.215.240.0/21" });
    await small.use(SHARED, OPEN, keep);
    await expect(
      small.use(SHARED, { internet: false, labels: {} }, (network) =>
        small.use({ kind: "tenant", tenant: "x" }, OPEN, async () => network),
      ),
    ).rejects.toMatchObject({
      code: "driver.failed",
      message: "no /27 is free in 10.215.240.0/21 for a network",
    });
    await expect(rig.open({ subnets: "10.215.240.0/24" })).rejects.toMatchObject({
      code: "config.invalid",
    });
    await eventually(async () => (await rig.names()).length === 2);
  });
});
