/** R1, R2, R4, R8 with several nodes on a real nats-server: joining, draining, dying, and two owners by force. */
import { describe, expect, test } from "vitest";
import { actorClient } from "../../runtime/actor-client.ts";
import { systemClock } from "../../runtime/clock.ts";
import { decodeRecord } from "../../runtime/record.ts";
import { Probe, probe, probeTools } from "../support/actors.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";
import { partitionHost } from "../support/host.ts";

const KEYS = Array.from({ length: 12 }, (_, n) => `k${n}`);

/** Asks and tells every key without pause until told to stop, and remembers what was promised. */
function load(cluster: Cluster) {
  const added = new Map(KEYS.map((key) => [key, 0]));
  const told = new Map<string, string[]>(KEYS.map((key) => [key, []]));
  const failures: unknown[] = [];
  const state = { stopped: false };
  const at = (key: string) => cluster.client.actor(Probe, "acme", key);
  const add = async (key: string) => {
    while (!state.stopped) {
      await at(key)
        .add({ n: 1 }, { timeoutMs: 4_000 })
        .then(
          () => added.set(key, added.get(key)! + 1),
          (thrown: unknown) => failures.push(thrown),
        );
    }
  };
  const tell = async (key: string) => {
    for (let n = 0; !state.stopped; n += 1) {
      await at(key).hear({ text: `${n}` }, { timeoutMs: 20_000, id: `tell-${key}-${n}` });
      told.get(key)!.push(`${n}`);
      await systemClock.sleep(2);
    }
  };
  const running = Promise.all(KEYS.flatMap((key) => [add(key), tell(key)]));
  return {
    added,
    told,
    failures,
    async stop() {
      state.stopped = true;
      await running;
    },
  };
}

async function expectKept(cluster: Cluster, run: ReturnType<typeof load>): Promise<void> {
  for (const key of KEYS) {
    const read = () => cluster.client.actor(Probe, "acme", key).read({}, { timeoutMs: 10_000 });
    const told = run.told.get(key)!;
    await eventually(async () => (await read()).heard.length >= told.length, {
      name: `${key} has heard all`,
    });
    expect((await read()).heard).toEqual(told);
  }
}

describe("two nodes", () => {
  test("share the partitions; one that drains hands over with no failed ask and no lost tell (R8)", async () => {
    await using cluster = await startCluster({
      definitions: [probe()],
      nodes: 1,
      partitions: 8,
      on: "nats",
    });
    const run = load(cluster);
    await cluster.start("n2");
    await cluster.settled();
    expect(cluster.node("n2").partitions().length).toBeGreaterThan(0);
    const startedAt = performance.now();
    await cluster.node("n1").drain();
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    expect(cluster.node("n1").partitions()).toEqual([]);
    await eventually(() => cluster.node("n2").partitions().length === 8, { name: "n2 has all" });
    await run.stop();
    expect(run.failures).toEqual([]);
    for (const key of KEYS) {
      const { total } = await cluster.client.actor(Probe, "acme", key).read({});
      expect(total).toBe(run.added.get(key));
    }
    await expectKept(cluster, run);
    await cluster.stop("n1");
  });

  test("lose nothing when one dies; its actors answer again within seconds (R2, R8)", async () => {
    await using cluster = await startCluster({
      definitions: [probe()],
      nodes: 2,
      partitions: 8,
      on: "nats",
    });
    const run = load(cluster);
    await eventually(() => [...run.added.values()].every((n) => n > 3), { name: "under way" });
    const startedAt = performance.now();
    await cluster.crash("n1");
    await eventually(() => cluster.node("n2").partitions().length === 8, {
      name: "n2 has taken all over",
      within: 8_000,
    });
    for (const key of KEYS) await cluster.client.actor(Probe, "acme", key).read({});
    // The lease of 1.5 s and little more.
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    await run.stop();
    for (const { code } of run.failures as { code: string }[]) expect(code).toBe("ask.timeout");
    for (const key of KEYS) {
      // What was answered happened; what was not may have.
      const { total } = await cluster.client.actor(Probe, "acme", key).read({});
      expect(total).toBeGreaterThanOrEqual(run.added.get(key)!);
      expect(total).toBeLessThanOrEqual(run.added.get(key)! + run.failures.length);
    }
    await expectKept(cluster, run);
  });

  test("a node whose lease lapsed unseen gives up, joins again and takes its share (R1, R8)", async () => {
    await using cluster = await startCluster({ definitions: [probe()], nodes: 2, on: "nats" });
    const before = cluster.node("n1").partitions();
    await cluster.transport.buckets.remove("nodes", "n1");
    await eventually(
      async () => {
        const found = await cluster.transport.buckets.get("nodes", "n1");
        return found !== undefined && cluster.node("n1").isReady();
      },
      { name: "n1 is back" },
    );
    await cluster.settled();
    expect(cluster.node("n1").partitions()).toEqual(before);
    for (const key of KEYS) {
      expect(await cluster.client.actor(Probe, "acme", key).add({ n: 1 })).toEqual({ total: 1 });
    }
  });
});

describe("a second owner by force", () => {
  test("takes no commit from the first, nor gives it one: every add counts once (R1)", async () => {
    await using cluster = await startCluster({
      definitions: [probe()],
      nodes: 1,
      partitions: 1,
      on: "nats",
    });
    const connect = await cluster.connect("rival");
    // Below the node's epoch: as a process that was paused and believes that nothing happened.
    const rival = partitionHost({ transport: connect, definitions: [probe()], epoch: 0 });
    await rival.open();
    const clients = [cluster.client, actorClient({ transport: connect, clock: systemClock })];
    const outcomes = await Promise.allSettled(
      Array.from({ length: 400 }, (_, n) =>
        clients[n % 2]!.actor(Probe, "acme", `k${n % 5}`).add({ n: 1 }, { timeoutMs: 8_000 }),
      ),
    );
    const answered = outcomes.filter(({ status }) => status === "fulfilled").length;
    await rival.close();
    let total = 0;
    for (let n = 0; n < 5; n += 1) {
      total += (await cluster.client.actor(Probe, "acme", `k${n}`).read({})).total;
      const ref = { kind: "probe", tenant: "acme", key: `k${n}` };
      const found = await cluster.transport.records.load(ref, false);
      expect(decodeRecord(found!.data).epoch).toBe(1);
    }
    expect(total).toBeGreaterThanOrEqual(answered);
    expect(total).toBeLessThanOrEqual(400);
    expect(answered).toBeGreaterThan(300);
    await connect.close();
  });
});

describe("a relay between actors on two nodes", () => {
  test("keeps each sender's order over handovers in both directions (R4)", async () => {
    await using cluster = await startCluster({
      definitions: [probe()],
      tools: probeTools(),
      nodes: 2,
      partitions: 8,
      on: "nats",
    });
    const at = (key: string) => cluster.client.actor(Probe, "acme", key);
    const senders = ["s1", "s2", "s3", "s4"];
    const send = async () => {
      for (let n = 0; n < 60; n += 1) {
        await Promise.all(
          senders.map((from) =>
            at(from).relay({ to: "target", texts: [`${from}/${n}`] }, { timeoutMs: 20_000 }),
          ),
        );
        await systemClock.sleep(15);
      }
    };
    const sending = send();
    await cluster.stop("n2");
    await cluster.start("n2");
    await cluster.settled();
    await cluster.stop("n1");
    await sending;
    await eventually(async () => (await at("target").read({})).heard.length >= 240, {
      name: "all arrived",
    });
    const { heard } = await at("target").read({});
    for (const from of senders) {
      const own = heard.filter((text) => text.startsWith(`${from}/`));
      expect(own).toEqual(Array.from({ length: 60 }, (_, n) => `${from}/${n}`));
    }
  });
});
