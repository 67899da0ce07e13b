/**
 * R7 on a real nats-server: an actor that is slow, stands still or is hot does not hurt those that share its
 * partition. Loaded is compared with quiet in the same run; `expectCalm` states the bound.
 */
import { describe, expect, test } from "vitest";
import { DEFAULT_SUPERVISION, type Supervision } from "../../../runtime/supervision.ts";
import { type Cluster, startCluster } from "../../support/cluster.ts";
import { eventually } from "../../support/eventually.ts";
import { Latencies } from "../../support/latency.ts";
import { flood } from "../../support/mail-flood.ts";
import { Meter, meter } from "../../support/meter.ts";

const NEIGHBOURS = ["n1", "n2", "n3", "n4"];
/** So many that one pause of a busy machine, which all four see, is not the 99th percentile. */
const ROUNDS = 150;

/** All in one partition, so that they share its consumers. */
const onePartition = (supervision?: Supervision) =>
  startCluster({
    definitions: [meter(supervision ? { supervision } : {})],
    nodes: 1,
    partitions: 1,
    on: "nats",
  });

interface Calls {
  readonly asks: Latencies;
  /** From a tell to its effect, as a read that comes after it sees it. */
  readonly tells: Latencies;
}

async function callNeighbours(cluster: Cluster): Promise<Calls> {
  const calls = { asks: new Latencies(), tells: new Latencies() };
  // Warm in every run: loading is not what is compared.
  await Promise.all(NEIGHBOURS.map((key) => cluster.client.actor(Meter, "acme", key).add({})));
  for (let round = 0; round < ROUNDS; round += 1) {
    await Promise.all(
      NEIGHBOURS.map(async (key) => {
        const actor = cluster.client.actor(Meter, "acme", key);
        await calls.asks.measure(() => actor.add({}));
        await calls.tells.measure(async () => {
          await actor.hit({ n: round });
          await actor.read({});
        });
      }),
    );
  }
  return calls;
}

/**
 * p99 at most eight times that of the quiet run, and 100 ms for what client, node and broker on one busy machine add.
 * Held up, they would wait for the other actor: for seconds, or for ever.
 */
function expectCalm(quiet: Calls, loaded: Calls): void {
  for (const kind of ["asks", "tells"] as const) {
    const bound = 8 * quiet[kind].quantile(0.99) + 100;
    const seen = `${kind}: quiet ${quiet[kind].summary}; loaded ${loaded[kind].summary}`;
    expect(loaded[kind].quantile(0.99), seen).toBeLessThan(bound);
  }
}

const view = (cluster: Cluster, key: string) =>
  cluster
    .node("n1")
    .actors(9)
    .find((actor) => actor.key === key);

describe("neighbours in one partition", () => {
  test("are not held up by an actor that backs off with 3,500 messages waiting", async () => {
    const backoff = { initialMs: 120_000, maxMs: 120_000 };
    await using cluster = await onePartition({ ...DEFAULT_SUPERVISION, backoff });
    const quiet = await callNeighbours(cluster);
    await cluster.client.actor(Meter, "acme", "slow").hit({ n: -1 });
    await flood(cluster.transport, "slow", 3_500);
    await eventually(() => view(cluster, "slow")?.waiting === 3_501, {
      name: "all of it has reached the node",
    });
    expectCalm(quiet, await callNeighbours(cluster));
    expect(view(cluster, "slow")).toMatchObject({ waiting: 3_501 });
  });

  test("are not held up by an actor that was stopped; when it goes on it has lost nothing (R2, R4)", async () => {
    await using cluster = await onePartition({
      ...DEFAULT_SUPERVISION,
      on: { default: "stop" },
      stopMs: 8_000,
    });
    const quiet = await callNeighbours(cluster);
    const stopped = cluster.client.actor(Meter, "acme", "stopped");
    await stopped.add({});
    await stopped.hit({ n: -1 });
    await eventually(() => view(cluster, "stopped")?.state.type === "stopped", {
      name: "it is stopped",
    });
    await flood(cluster.transport, "stopped", 3_500);
    await eventually(() => view(cluster, "stopped")?.waiting === 3_500, {
      name: "all of it has reached the node",
    });
    expectCalm(quiet, await callNeighbours(cluster));
    await eventually(async () => (await stopped.read({}, { timeoutMs: 1_000 })).hits === 3_500, {
      name: "it has heard all",
      within: 30_000,
    });
    expect(await stopped.read({})).toMatchObject({ last: 3_499, disorder: 0 });
  });

  test("keep their latency beside a hot actor with 10,000 tells and a flood of asks", async () => {
    await using cluster = await startCluster({
      definitions: [meter()],
      nodes: 0,
      partitions: 1,
      on: "nats",
    });
    // Stored before the node comes: a client that saturates the broker would be measured instead.
    await flood(cluster.transport, "hot", 10_000);
    await cluster.start("n1");
    await cluster.settled();
    const hot = cluster.client.actor(Meter, "acme", "hot");
    // Comes behind all of it in the stream: the node has been told of everything that waits.
    const behind = cluster.client.actor(Meter, "acme", "behind");
    await behind.hit({ n: 0 });
    await behind.read({}, { timeoutMs: 20_000 });
    const state = { isOver: false };
    const asking = Array.from({ length: 16 }, async () => {
      while (!state.isOver) await hot.add({}, { timeoutMs: 20_000 });
    });
    const loaded = await callNeighbours(cluster);
    state.isOver = true;
    await Promise.all(asking);
    await eventually(async () => (await hot.read({})).hits === 10_000, {
      name: "the hot actor has heard all",
      within: 30_000,
    });
    expect(await hot.read({})).toMatchObject({ last: 9_999, disorder: 0 });
    expectCalm(await callNeighbours(cluster), loaded);
  });
});
